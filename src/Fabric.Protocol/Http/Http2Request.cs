using System.Buffers;
using System.Text;

namespace Fabric.Protocol.Http;

/// <summary>
/// The fields of a request, or its trailers, as they come out of a decoder: checked (RFC 9113 §8.2, §8.3), and encoded anew without a table. What is wrong
/// with them is kept and not thrown: the decoder has to go on to the end of the block.
/// </summary>
public sealed class Http2Request : IHpackFields
{
    private static readonly SearchValues<byte> _upper = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZ"u8);

    private readonly ArrayBufferWriter<byte> _block = new(512);
    private bool _isTrailer;
    private bool _afterPseudo;
    private int _count;
    private int _bytes;
    private byte[]? _authority;
    private byte[]? _host;
    private bool _hasScheme;
    private byte[]? _traceParent;
    private byte[]? _traceState;
    private bool _traceIsUnclear;

    /// <summary>W3C traceparent; null when there is none, or more than one.</summary>
    public string? TraceParent => _traceParent is { Length: <= 128 } && !_traceIsUnclear ? Encoding.ASCII.GetString(_traceParent) : null;

    /// <summary>W3C tracestate of one field; null when there is none, or it is longer than 512 bytes.</summary>
    public string? TraceState => _traceState is { Length: <= 512 } ? Encoding.ASCII.GetString(_traceState) : null;

    public string? Method { get; private set; }

    public byte[]? Path { get; private set; }

    /// <summary>Bytes of its body; null when it does not say.</summary>
    public long? Length { get; private set; }

    /// <summary>An answer to it has to be one of gRPC.</summary>
    public bool IsGrpc { get; private set; }

    /// <summary>Status and reason when it is not passed on; null when it may be.</summary>
    public (int Status, string Reason)? Problem { get; private set; }

    /// <summary>For the next hop.</summary>
    public ReadOnlySpan<byte> Block => _block.WrittenSpan;

    /// <summary>Before the fields come.</summary>
    /// <param name="isTrailer">They are the last of a request.</param>
    /// <param name="isFirst">They are the first of the connection.</param>
    public void Begin(bool isTrailer, bool isFirst)
    {
        _block.ResetWrittenCount();
        (_isTrailer, _afterPseudo, _count, _bytes, _authority, _host, _hasScheme) = (isTrailer, isTrailer, 0, 0, null, null, false);
        (Method, Path, Length, IsGrpc, Problem) = (null, null, null, false, null);
        (_traceParent, _traceState, _traceIsUnclear) = (null, null, false);
        if (isFirst)
        {
            HpackWriter.NoTable(_block);
        }
    }

    public void Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, bool isSecret)
    {
        _bytes += name.Length + value.Length + HpackTable.EntryOverhead;
        if (++_count > Http1Fields.MaxFields || _bytes > Http1Fields.MaxBytes)
        {
            Problem ??= (431, "too many fields");
            return;
        }

        if (Problem is not null)
        {
            return;
        }

        var wrong = name.IsEmpty ? "a field without a name" : name[0] == ':' ? Pseudo(name, value) : Regular(name, value);
        if (wrong is not null)
        {
            Problem = (400, wrong);
            return;
        }

        if (!_isTrailer && name.SequenceEqual("traceparent"u8) && _traceParent is null)
        {
            // Held back: another may go in its place.
            _traceParent = value.ToArray();
            return;
        }

        _traceIsUnclear |= name.SequenceEqual("traceparent"u8);
        _traceState ??= name.SequenceEqual("tracestate"u8) ? value.ToArray() : null;
        HpackWriter.Field(_block, name, value, isSecret);
    }

    /// <summary>Before <see cref="Block"/> is sent: with that traceparent, or null for the one that was read.</summary>
    public void Trace(string? traceParent)
    {
        if (traceParent is not null && !_traceIsUnclear)
        {
            HpackWriter.Field(_block, "traceparent"u8, Encoding.ASCII.GetBytes(traceParent));
        }
        else if (_traceParent is not null)
        {
            HpackWriter.Field(_block, "traceparent"u8, _traceParent);
        }
    }

    /// <summary>After the last field.</summary>
    /// <param name="ends">Nothing follows it: neither body nor trailers.</param>
    public void End(bool ends)
    {
        if (Problem is not null || _isTrailer)
        {
            return;
        }

        Problem = Method == "CONNECT" ? (405, "CONNECT asks for a tunnel")
            : Method is null || Path is null || !_hasScheme ? (400, "a request without method, path and scheme")
            : _authority is null && _host is null ? (400, "a request without authority and host")
            : _authority is not null && _host is not null && !HttpSyntax.SameAuthority(_authority, _host) ? (400, "authority and host differ")
            : ends && Length > 0 ? (400, "a request with a length, and without a body")
            : null;
    }

    private string? Pseudo(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (_afterPseudo)
        {
            return "a pseudo-field after others, or in a trailer";
        }

        if (name.SequenceEqual(":method"u8) && Method is null && HttpSyntax.IsMethod(value))
        {
            Method = Encoding.ASCII.GetString(value);
        }
        else if (name.SequenceEqual(":path"u8) && Path is null && !value.IsEmpty && !value.ContainsAnyExceptInRange((byte)'!', (byte)'~'))
        {
            Path = value.ToArray();
        }
        else if (name.SequenceEqual(":authority"u8) && _authority is null && !value.IsEmpty && HttpSyntax.IsAuthority(value))
        {
            _authority = value.ToArray();
        }
        else if (name.SequenceEqual(":scheme"u8) && !_hasScheme && (value.SequenceEqual("http"u8) || value.SequenceEqual("https"u8)))
        {
            _hasScheme = true;
        }
        else
        {
            return "a pseudo-field is unknown, there twice, or has no value that it may have";
        }

        return null;
    }

    private string? Regular(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        _afterPseudo = true;
        if (!HttpSyntax.IsToken(name) || name.ContainsAny(_upper) || !HttpSyntax.IsValue(value) || HttpSyntax.Trim(value).Length != value.Length)
        {
            return "a field has characters that it may not have";
        }

        if (name.SequenceEqual("host"u8))
        {
            if (_host is not null || !HttpSyntax.IsAuthority(value))
            {
                return "more than one host, or one that is none";
            }

            _host = value.ToArray();
        }
        else if (name.SequenceEqual("content-length"u8))
        {
            if (Length is not null || !HttpSyntax.TryReadLength(value, out var length))
            {
                return "content-length is not one number";
            }

            Length = length;
        }
        else if (name.SequenceEqual("content-type"u8))
        {
            IsGrpc = value.StartsWith("application/grpc"u8);
        }

        return IsForbidden(name) || (name.SequenceEqual("te"u8) && !value.SequenceEqual("trailers"u8)) ? "a field that HTTP/2 has no place for"
            : _isTrailer && (_host is not null || Length is not null) ? "a trailer that frames the message" : null;
    }

    private static bool IsForbidden(ReadOnlySpan<byte> name) => name.SequenceEqual("connection"u8) || name.SequenceEqual("proxy-connection"u8)
        || name.SequenceEqual("keep-alive"u8) || name.SequenceEqual("transfer-encoding"u8) || name.SequenceEqual("upgrade"u8)
        || name.SequenceEqual("content_length"u8) || name.SequenceEqual("transfer_encoding"u8);
}
