using System.Globalization;
using System.Net;
using System.Text;

namespace Fabric.Protocol.Dns;

/// <summary>SVCB and HTTPS data as people write it (RFC 9460 §2.1), of the keys that are known here.</summary>
internal static class DnsServiceBindingText
{
    /// <summary>Null: it is malformed, or has a key that is not known here; that of RFC 3597 says it all.</summary>
    public static string? Of(ReadOnlySpan<byte> data)
    {
        var reader = new DnsReader(data);
        if (!reader.TryReadUInt16(out var priority) || !reader.TryReadPlainName(out var target))
        {
            return null;
        }

        var text = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"{priority} {DnsName.FromWire(target)}"));
        while (!reader.AtEnd)
        {
            if (!reader.TryReadUInt16(out var key) || !reader.TryReadUInt16(out var length) || !reader.TryReadBytes(length, out var value)
                || Parameter(key, value) is not { } parameter)
            {
                return null;
            }

            text.Append(' ').Append(parameter);
        }

        return text.ToString();
    }

    private static string? Parameter(ushort key, ReadOnlySpan<byte> value) => key switch
    {
        1 => Alpn(value) is { } names ? $"alpn={names}" : null,
        2 when value.IsEmpty => "no-default-alpn",
        3 when value.Length == 2 => string.Create(CultureInfo.InvariantCulture, $"port={value[0] << 8 | value[1]}"),
        4 => Addresses(value, 4) is { } four ? $"ipv4hint={four}" : null,
        6 => Addresses(value, 16) is { } six ? $"ipv6hint={six}" : null,
        _ => null,
    };

    /// <summary>Joined by commas. What would have to be escaped is left to the other form.</summary>
    private static string? Alpn(ReadOnlySpan<byte> value)
    {
        var names = new List<string>();
        for (; !value.IsEmpty; value = value[(1 + value[0])..])
        {
            if (value[0] == 0 || value.Length < 1 + value[0] || value.Slice(1, value[0]).ContainsAnyExceptInRange((byte)'!', (byte)'~')
                || value.Slice(1, value[0]).ContainsAny("\\,\""u8))
            {
                return null;
            }

            names.Add(Encoding.ASCII.GetString(value.Slice(1, value[0])));
        }

        return names.Count == 0 ? null : string.Join(',', names);
    }

    private static string? Addresses(ReadOnlySpan<byte> value, int length)
    {
        var addresses = new List<string>();
        for (; value.Length >= length; value = value[length..])
        {
            addresses.Add(new IPAddress(value[..length]).ToString());
        }

        return value.IsEmpty && addresses.Count > 0 ? string.Join(',', addresses) : null;
    }
}
