using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace Fabric.Protocol.Dns;

/// <summary>
/// A fully qualified name, held in uncompressed wire form: length octet, label, … , 0. Its case is kept; comparison ignores
/// the case of ASCII letters and nothing else (RFC 4343).
/// </summary>
public sealed class DnsName : IEquatable<DnsName>
{
    public static readonly DnsName Root = new([0]);

    private readonly byte[] _wire;

    private DnsName(byte[] wire) => _wire = wire;

    /// <summary>1 to 255 bytes, the root label included.</summary>
    public ReadOnlySpan<byte> Wire => _wire;

    public bool IsRoot => _wire.Length == 1;

    /// <summary>The name without its first label; the root's parent is the root.</summary>
    public DnsName Parent => IsRoot ? this : new DnsName(_wire[(_wire[0] + 1)..]);

    /// <summary>Labels without the root: <c>a.b.</c> has 2.</summary>
    public int LabelCount
    {
        get
        {
            var count = 0;
            for (var at = 0; _wire[at] != 0; at += _wire[at] + 1)
            {
                count++;
            }

            return count;
        }
    }

    /// <summary>Takes a copy of a name that <see cref="DnsReader"/> has read. Throws on anything else.</summary>
    public static DnsName FromWire(ReadOnlySpan<byte> wire)
    {
        var reader = new DnsReader(wire);
        return reader.TryReadPlainName(out var plain) && plain.Length == wire.Length
            ? new DnsName(plain.ToArray())
            : throw new ArgumentException("not a name in uncompressed wire form", nameof(wire));
    }

    /// <summary>
    /// Reads presentation form: labels separated by dots, the last dot optional, <c>\.</c> and <c>\DDD</c> as escapes
    /// (RFC 1035 §5.1). Throws <see cref="FormatException"/> with the value and the rule.
    /// </summary>
    public static DnsName Parse(string text) =>
        TryParse(text, out var name, out var error) ? name : throw new FormatException(error);

    public static bool TryParse(string text, [NotNullWhen(true)] out DnsName? name, [NotNullWhen(false)] out string? error)
    {
        name = null;
        if (text.Length == 0)
        {
            error = "a DNS name must not be empty: write . for the root";
            return false;
        }

        if (text == ".")
        {
            (name, error) = (Root, null);
            return true;
        }

        var wire = new byte[DnsLimits.Name];
        var (label, at) = (0, 1);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '.')
            {
                if (at == label + 1)
                {
                    error = $"DNS name \"{Shorten(text)}\" has an empty label: two dots in a row, or one at the start";
                    return false;
                }

                wire[label] = (byte)(at - label - 1);
                label = at++;
            }
            else if (!TryUnescape(text, ref i, out var octet))
            {
                error = $"DNS name \"{Shorten(text)}\" has a character beyond ASCII or a bad escape at {i}: write \\DDD, decimal";
                return false;
            }
            else
            {
                if (at - label > DnsLimits.Label)
                {
                    error = $"DNS name \"{Shorten(text)}\" has a label of more than {DnsLimits.Label} bytes";
                    return false;
                }

                if (at < wire.Length)
                {
                    wire[at] = octet;
                }

                at++;
            }

            // One byte must remain for the root label.
            if (at > wire.Length - (text[i] == '.' && i == text.Length - 1 ? 0 : 1))
            {
                error = $"DNS name \"{Shorten(text)}\" is longer than {DnsLimits.Name} bytes";
                return false;
            }
        }

        if (at > label + 1)
        {
            wire[label] = (byte)(at - label - 1);
            label = at;
        }

        wire[label] = 0;
        name = new DnsName(wire[..(label + 1)]);
        error = null;
        return true;
    }

    /// <summary>This name with one more label in front: <c>a</c> + <c>b.c.</c> = <c>a.b.c.</c> Dots inside the label stay
    /// inside it.</summary>
    public DnsName Prepend(string label)
    {
        if (label.Length is 0 or > DnsLimits.Label || !Ascii.IsValid(label))
        {
            throw new FormatException($"DNS label \"{Shorten(label)}\" must have 1 to {DnsLimits.Label} ASCII characters");
        }

        if (_wire.Length + label.Length + 1 > DnsLimits.Name)
        {
            throw new FormatException($"DNS name \"{Shorten(label)}.{this}\" is longer than {DnsLimits.Name} bytes");
        }

        return new DnsName([(byte)label.Length, .. Encoding.ASCII.GetBytes(label), .. _wire]);
    }

    /// <summary>Whether this is <paramref name="ancestor"/> or a name below it.</summary>
    public bool IsAtOrBelow(DnsName ancestor)
    {
        var at = 0;
        while (_wire.Length - at > ancestor._wire.Length)
        {
            at += _wire[at] + 1;
        }

        return DnsNameComparer.Equal(_wire.AsSpan(at), ancestor._wire);
    }

    public bool Equals(DnsName? other) => other is not null && DnsNameComparer.Equal(_wire, other._wire);

    public override bool Equals(object? obj) => Equals(obj as DnsName);

    public override int GetHashCode() => DnsNameComparer.Hash(_wire);

    /// <summary>Presentation form with the last dot: <c>a.b.</c></summary>
    public override string ToString()
    {
        if (IsRoot)
        {
            return ".";
        }

        var text = new StringBuilder(_wire.Length + 8);
        for (var at = 0; _wire[at] != 0; at += _wire[at] + 1)
        {
            foreach (var octet in _wire.AsSpan(at + 1, _wire[at]))
            {
                if (octet is (byte)'.' or (byte)'\\')
                {
                    text.Append('\\').Append((char)octet);
                }
                else if (octet is > 0x20 and < 0x7F)
                {
                    text.Append((char)octet);
                }
                else
                {
                    text.Append('\\').Append(octet.ToString("D3", CultureInfo.InvariantCulture));
                }
            }

            text.Append('.');
        }

        return text.ToString();
    }

    private static bool TryUnescape(string text, ref int i, out byte octet)
    {
        octet = (byte)text[i];
        if (text[i] != '\\')
        {
            return text[i] < 0x80;
        }

        if (i + 1 < text.Length && !char.IsAsciiDigit(text[i + 1]))
        {
            octet = (byte)text[++i];
            return text[i] < 0x80;
        }

        if (i + 3 >= text.Length
            || !byte.TryParse(text.AsSpan(i + 1, 3), NumberStyles.None, CultureInfo.InvariantCulture, out octet))
        {
            return false;
        }

        i += 3;
        return true;
    }

    private static string Shorten(string text) => text.Length <= 80 ? text : text[..77] + "...";
}

/// <summary>
/// Compares names in wire form without regard to ASCII case, and lets a dictionary of names be asked with bytes straight out
/// of a message. Length octets are at most 63 and thus below 'A', so a whole name can be folded byte by byte.
/// </summary>
public sealed class DnsNameComparer : IEqualityComparer<DnsName>, IAlternateEqualityComparer<ReadOnlySpan<byte>, DnsName>
{
    public static readonly DnsNameComparer Instance = new();

    public static bool Equal(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        if (a.Length != b.Length)
        {
            return false;
        }

        for (var i = 0; i < a.Length; i++)
        {
            if (a[i] != b[i] && Fold(a[i]) != Fold(b[i]))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>FNV-1a over the folded bytes. Not seeded: the names inside a table are the operator's own, queries only
    /// look.</summary>
    public static int Hash(ReadOnlySpan<byte> name)
    {
        var hash = 2166136261u;
        foreach (var octet in name)
        {
            hash = (hash ^ Fold(octet)) * 16777619u;
        }

        return (int)hash;
    }

    public bool Equals(DnsName? x, DnsName? y) => x is null ? y is null : x.Equals(y);

    public int GetHashCode(DnsName name) => name.GetHashCode();

    public bool Equals(ReadOnlySpan<byte> alternate, DnsName other) => Equal(alternate, other.Wire);

    public int GetHashCode(ReadOnlySpan<byte> alternate) => Hash(alternate);

    public DnsName Create(ReadOnlySpan<byte> alternate) => DnsName.FromWire(alternate);

    internal static byte Fold(byte octet) => octet is >= (byte)'A' and <= (byte)'Z' ? (byte)(octet | 0x20) : octet;
}
