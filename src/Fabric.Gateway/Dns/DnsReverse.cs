using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>
/// The reverse names of one family: which of them exist, and what those that are addresses point to: labels below the domain. Immutable. Between the
/// names of addresses and their zone stand names without data; they need no table, for the addresses are sorted.
/// </summary>
internal sealed class DnsReverse
{
    private readonly bool _v6;
    private readonly ImmutableArray<Zone> _zones;
    private readonly UInt128[] _addresses;
    private readonly byte[][] _pointers;

    private DnsReverse(bool v6, ImmutableArray<Zone> zones, UInt128[] addresses, byte[][] pointers) =>
        (_v6, _zones, _addresses, _pointers) = (v6, zones, addresses, pointers);

    /// <summary>Labels of an address: 4 or 32.</summary>
    private int Full => _v6 ? 32 : 4;

    private int BitsPerLabel => _v6 ? 4 : 8;

    private int Bits => _v6 ? 128 : 32;

    /// <summary>Zones without addresses.</summary>
    public static DnsReverse Create(AddressFamily family, IEnumerable<IPNetwork> ranges)
    {
        var v6 = family == AddressFamily.InterNetworkV6;
        var perLabel = v6 ? 4 : 8;
        var zones = ranges.Where(r => r.BaseAddress.AddressFamily == family)
            .Select(r => new Zone((r.PrefixLength + perLabel - 1) / perLabel, r.PrefixLength, Value(r.BaseAddress)))
            .OrderByDescending(z => z.Labels);
        return new DnsReverse(v6, [.. zones], [], []);
    }

    /// <summary>The same zones with other records. Labels are told apart by reference.</summary>
    public DnsReverse With(IReadOnlySet<byte[]> removed, IReadOnlyCollection<(IPAddress Address, byte[] Labels)> added)
    {
        var more = added.Select(a => (Value(a.Address), a.Labels)).ToArray();
        if (removed.Count == 0 && more.Length == 0)
        {
            return this;
        }

        var keys = Array.ConvertAll(more, m => m.Item1);
        var values = Array.ConvertAll(more, m => m.Labels);
        Array.Sort(keys, values);
        var gone = removed.Count == 0 ? 0 : _pointers.Count(removed.Contains);
        var addresses = new UInt128[_addresses.Length - gone + keys.Length];
        var pointers = new byte[addresses.Length][];
        for (int i = 0, j = 0, at = 0; i < _addresses.Length || j < keys.Length;)
        {
            if (j == keys.Length || i < _addresses.Length && _addresses[i] <= keys[j])
            {
                if (gone == 0 || !removed.Contains(_pointers[i]))
                {
                    (addresses[at], pointers[at]) = (_addresses[i], _pointers[i]);
                    at++;
                }

                i++;
            }
            else
            {
                (addresses[at], pointers[at]) = (keys[j], values[j]);
                at++;
                j++;
            }
        }

        return new DnsReverse(_v6, _zones, addresses, pointers);
    }

    /// <summary>What is at a reverse name.</summary>
    /// <param name="name">The whole name.</param>
    /// <param name="starts">Where its labels begin, without the root label; the last two are <c>in-addr.arpa</c> or <c>ip6.arpa</c>.</param>
    /// <param name="apex">Answers of a zone's own name.</param>
    public DnsFound Find(scoped ReadOnlySpan<byte> name, scoped ReadOnlySpan<byte> starts, DnsAnswerSet apex)
    {
        var labels = starts.Length - 2;
        var (value, depth) = (UInt128.Zero, 0);
        for (; depth < Math.Min(labels, Full) && TryDigit(Label(name, starts[labels - 1 - depth]), out var digit); depth++)
        {
            value |= (UInt128)(uint)digit << Bits - (depth + 1) * BitsPerLabel;
        }

        var zone = ZoneLabels(value, depth);
        if (zone < 0)
        {
            return default;
        }

        var found = new DnsFound { Place = DnsPlace.NoName, ZoneOffset = starts[labels - zone], InReverse = true };
        var isApex = labels == zone;
        if (depth < labels || labels > Full || !isApex && !Any(value, depth))
        {
            return found;
        }

        found.Place = DnsPlace.Name;
        found.Pointers = depth == Full ? At(value) : default;
        if (isApex && apex.TryFind([], out var answers))
        {
            found.Set = apex;
            found.Answers = answers;
        }

        return found;
    }

    /// <summary>How many labels the zone has that a name with these digits is in; −1: none. An address outside of all ranges is a zone
    /// of its own.</summary>
    private int ZoneLabels(UInt128 value, int depth)
    {
        foreach (var zone in _zones)
        {
            if (depth >= zone.Labels && value >> Bits - zone.PrefixLength == zone.Value >> Bits - zone.PrefixLength)
            {
                return zone.Labels;
            }
        }

        return depth == Full && !At(value).IsEmpty ? Full : -1;
    }

    /// <summary>Whether there is an address that begins with these digits.</summary>
    private bool Any(UInt128 value, int depth)
    {
        var at = LowerBound(value);
        var shift = Bits - depth * BitsPerLabel;
        return at < _addresses.Length && _addresses[at] >> shift == value >> shift;
    }

    private ReadOnlySpan<byte[]> At(UInt128 value)
    {
        var start = LowerBound(value);
        var end = start;
        while (end < _addresses.Length && _addresses[end] == value)
        {
            end++;
        }

        return _pointers.AsSpan(start, end - start);
    }

    private int LowerBound(UInt128 value)
    {
        var (low, high) = (0, _addresses.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = _addresses[middle] < value ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    private bool TryDigit(ReadOnlySpan<byte> label, out int digit)
    {
        if (_v6)
        {
            var octet = label[0] | 0x20;
            digit = octet is >= 'a' and <= 'f' ? octet - 'a' + 10 : label[0] - '0';
            return label.Length == 1 && char.IsAsciiHexDigit((char)label[0]);
        }

        // As it is written and no other way: 007 is no name of 7.
        digit = 0;
        foreach (var octet in label)
        {
            digit = octet is >= (byte)'0' and <= (byte)'9' ? digit * 10 + octet - '0' : 256;
        }

        return label.Length <= 3 && digit < 256 && (label[0] != '0' || label.Length == 1);
    }

    private static ReadOnlySpan<byte> Label(ReadOnlySpan<byte> name, int start) => name.Slice(start + 1, name[start]);

    private static UInt128 Value(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var length);
        var value = UInt128.Zero;
        foreach (var octet in bytes[..length])
        {
            value = value << 8 | octet;
        }

        return value;
    }

    /// <summary>The names of a range, by their first <paramref name="Labels"/> labels: a zone for each value that the bits between the
    /// range's length and the label's end can take.</summary>
    private readonly record struct Zone(int Labels, int PrefixLength, UInt128 Value);
}
