using System.Collections;

namespace Fabric.Protocol.Grpc;

/// <summary>
/// Headers or trailers of a call: names in lower case, in the order added, a name may repeat. Text values are printable
/// ASCII; names that end with <c>-bin</c> carry bytes. Throws <see cref="ArgumentException"/> for what the wire cannot carry.
/// Source: gRPC PROTOCOL-HTTP2.md, "Custom-Metadata".
/// </summary>
public sealed class GrpcMetadata : IReadOnlyCollection<KeyValuePair<string, string>>
{
    private const string BinarySuffix = "-bin";

    // What HTTP/2 and gRPC themselves put beside the metadata.
    private static readonly HashSet<string> Reserved = new(StringComparer.OrdinalIgnoreCase)
    {
        "content-type", "content-length", "te", "host", "connection", "user-agent", "trailer", "transfer-encoding", "date",
        "server", "upgrade", "keep-alive", "proxy-connection",
    };

    private readonly List<KeyValuePair<string, string>> _entries = [];

    public int Count => _entries.Count;

    public void Add(string name, string value)
    {
        CheckName(name);
        if (name.EndsWith(BinarySuffix, StringComparison.Ordinal))
        {
            throw new ArgumentException($"metadata '{name}' carries bytes because it ends with -bin: use AddBinary");
        }

        var bad = value.AsSpan().IndexOfAnyExceptInRange(' ', '~');
        if (bad >= 0)
        {
            throw new ArgumentException(
                $"metadata '{name}' has U+{(int)value[bad]:X4} at {bad}: a text value is printable ASCII; "
                + "use a name that ends with -bin for anything else");
        }

        _entries.Add(new(name, value));
    }

    /// <summary>Adds bytes under a name that ends with <c>-bin</c>.</summary>
    public void AddBinary(string name, ReadOnlySpan<byte> value)
    {
        CheckName(name);
        if (!name.EndsWith(BinarySuffix, StringComparison.Ordinal))
        {
            throw new ArgumentException($"metadata '{name}' carries text because it does not end with -bin: use Add");
        }

        _entries.Add(new(name, Convert.ToBase64String(value).TrimEnd('=')));
    }

    /// <summary>The last value of that name, as it is on the wire; null when there is none.</summary>
    public string? Get(string name) => _entries.FindLast(e => e.Key == name).Value;

    /// <summary>The last bytes of that name; null when there are none or they are not base64.</summary>
    public byte[]? GetBinary(string name)
    {
        // Several values of one name may arrive joined by commas; padding is optional.
        var value = Get(name)?.Split(',')[^1].Trim().TrimEnd('=');
        if (value is null || value.Length % 4 == 1)
        {
            return null;
        }

        var bytes = new byte[value.Length * 3 / 4];
        return Convert.TryFromBase64String(value.PadRight((value.Length + 3) / 4 * 4, '='), bytes, out var n) ? bytes[..n] : null;
    }

    /// <summary>Takes in what came over the wire; protocol headers are left out, values are kept as they are.</summary>
    internal void AddReceived(string name, string value)
    {
        if (!IsReserved(name))
        {
            _entries.Add(new(name.ToLowerInvariant(), value));
        }
    }

    private static bool IsReserved(string name) =>
        name.Length == 0 || name[0] == ':' || name.StartsWith("grpc-", StringComparison.OrdinalIgnoreCase)
        || Reserved.Contains(name);

    private static void CheckName(string name)
    {
        var wellFormed = name.Length > 0
            && name.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '_' or '.');
        if (!wellFormed || IsReserved(name))
        {
            throw new ArgumentException($"'{name}' is no metadata name: a-z, 0-9, '-', '_', '.', neither beginning with grpc- "
                + "nor a header of HTTP itself");
        }
    }

    public IEnumerator<KeyValuePair<string, string>> GetEnumerator() => _entries.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
