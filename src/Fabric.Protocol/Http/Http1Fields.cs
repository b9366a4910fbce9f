using System.Buffers;
using System.Text;

namespace Fabric.Protocol.Http;

/// <summary>How the end of a body is known.</summary>
public enum HttpBody
{
    None,
    Length,
    Chunked,

    /// <summary>It ends with the connection: responses only.</summary>
    UntilClose,
}

/// <summary>
/// The head of an HTTP/1.1 message: where its lines and fields are in the bytes it was read from, which it does not copy. One object serves one
/// connection, message after message.
/// </summary>
/// <remarks>
/// Smuggling lives of two readers who see different ends of a message. So each of these refuses it: a line that ends without CR, a folded line,
/// a name with a blank before its colon, a body with two lengths or with length and chunks, a coding other than <c>chunked</c>, and the names of
/// framing fields with an underscore in place of the hyphen.
/// </remarks>
public abstract class Http1Fields
{
    /// <summary>Bytes of a head, with its first line.</summary>
    public const int MaxBytes = 64 * 1024;

    public const int MaxFields = 256;

    private readonly List<(Range Name, Range Value)> _fields = [];

    protected ReadOnlyMemory<byte> Head { get; private set; }

    public HttpBody Body { get; protected set; }

    /// <summary>Bytes of the body, where it has a length.</summary>
    public long Length { get; protected set; }

    /// <summary>The sender says that nothing follows on this connection.</summary>
    public bool Closes { get; protected set; }

    protected bool HasLength { get; private set; }

    protected bool IsChunked { get; private set; }

    protected int Hosts { get; private set; }

    protected Range Host { get; private set; }

    /// <summary>Options of all fields named Connection.</summary>
    protected List<Range> Options { get; } = [];

    protected Range? Upgrade { get; private set; }

    /// <summary>W3C traceparent; null when there is none, or more than one, which then is none either (trace-context §3.2.1).</summary>
    public string? TraceParent => Text("traceparent"u8, MaxTraceParent, joins: false);

    /// <summary>W3C tracestate, of all fields of that name; null when there is none, or it is longer than 512 bytes.</summary>
    public string? TraceState => Text("tracestate"u8, MaxTraceState, joins: true);

    private const int MaxTraceParent = 128;
    private const int MaxTraceState = 512;

    private string? Text(ReadOnlySpan<byte> name, int most, bool joins)
    {
        string? text = null;
        foreach (var field in _fields)
        {
            var value = field.Value;
            if (field.Name.End.Value - field.Name.Start.Value != name.Length || !HttpSyntax.Same(Head.Span[field.Name], name))
            {
                continue;
            }

            if (text is not null && !joins)
            {
                return null;
            }

            var one = Encoding.ASCII.GetString(Head.Span[value]);
            text = text is null ? one : $"{text},{one}";
            if (text.Length > most)
            {
                return null;
            }
        }

        return text;
    }

    /// <summary>Where a head ends that begins at 0; -1 when there is more to come. A line without CR ends it too: nothing good follows.</summary>
    /// <param name="bytes">What was received.</param>
    /// <param name="from">How much of it was looked at before.</param>
    public static int End(ReadOnlySpan<byte> bytes, int from)
    {
        for (var i = from; i < bytes.Length && bytes[i..].IndexOf((byte)'\n') is var next and >= 0; i++)
        {
            i += next;
            if (i == 0 || bytes[i - 1] != '\r' || (i >= 3 && bytes[i - 2] == '\n'))
            {
                return i + 1;
            }
        }

        return -1;
    }

    /// <summary>The next line; what it ends with is checked.</summary>
    protected static ReadOnlySpan<byte> Line(ReadOnlySpan<byte> head, ref int at)
    {
        var length = head[at..].IndexOf((byte)'\n');
        if (length <= 0 || head[at + length - 1] != '\r' || head.Slice(at, length - 1).Contains((byte)'\r'))
        {
            throw new HttpRefusedException(400, "a line does not end with CRLF");
        }

        var line = head.Slice(at, length - 1);
        at += length + 1;
        return line;
    }

    /// <summary>Reads the fields after the first line, until the empty one.</summary>
    protected void ReadFields(ReadOnlyMemory<byte> bytes, int at)
    {
        Head = bytes;
        _fields.Clear();
        Options.Clear();
        (Body, Length, Closes, HasLength, IsChunked, Hosts, Upgrade) = (HttpBody.None, 0, false, false, false, 0, null);
        var head = bytes.Span;
        while (true)
        {
            var start = at;
            var line = Line(head, ref at);
            if (line.IsEmpty)
            {
                return;
            }

            if (line[0] is (byte)' ' or (byte)'\t')
            {
                throw new HttpRefusedException(400, "a field is folded over lines");
            }

            var colon = line.IndexOf((byte)':');
            if (colon < 0 || !HttpSyntax.IsToken(line[..colon]) || !HttpSyntax.IsValue(line[(colon + 1)..]))
            {
                throw new HttpRefusedException(400, "a line is not name:value");
            }

            if (_fields.Count == MaxFields)
            {
                throw new HttpRefusedException(431, $"more than {MaxFields} fields");
            }

            var value = line[(colon + 1)..];
            var leading = value.Length - value.TrimStart(" \t"u8).Length;
            var from = start + colon + 1 + leading;
            var field = (Name: start..(start + colon), Value: from..(from + HttpSyntax.Trim(value).Length));
            _fields.Add(field);
            Understand(head[field.Name], field.Value, head);
        }
    }

    /// <summary>Writes the fields for the next hop: without those that are for this hop alone (RFC 9110 §7.6.1).</summary>
    protected void WriteFields(IBufferWriter<byte> to, bool upgrades, bool butTraceParent = false)
    {
        var head = Head.Span;
        foreach (var (name, value) in _fields)
        {
            var field = head[name];
            if ((IsOfThisHop(field) && !(upgrades && HttpSyntax.Same(field, "upgrade"u8)))
                || (butTraceParent && HttpSyntax.Same(field, "traceparent"u8)))
            {
                continue;
            }

            to.Write(field);
            to.Write(": "u8);
            to.Write(head[value]);
            to.Write("\r\n"u8);
        }
    }

    /// <summary>Fields at the end of chunks: strictly as others, and none that frames a message.</summary>
    public static void CheckTrailer(ReadOnlySpan<byte> line)
    {
        var colon = line.IndexOf((byte)':');
        if (colon < 0 || !HttpSyntax.IsToken(line[..colon]) || !HttpSyntax.IsValue(line[(colon + 1)..]) || Frames(line[..colon]))
        {
            throw new HttpRefusedException(400, "a trailer is not name:value, or frames a message");
        }
    }

    private static bool Frames(ReadOnlySpan<byte> name) => HttpSyntax.Same(name, "content-length"u8)
        || HttpSyntax.Same(name, "transfer-encoding"u8) || HttpSyntax.Same(name, "host"u8) || HttpSyntax.Same(name, "connection"u8);

    private void Understand(ReadOnlySpan<byte> name, Range at, ReadOnlySpan<byte> head)
    {
        var value = head[at];
        if (HttpSyntax.Same(name, "content-length"u8))
        {
            if (HasLength || !HttpSyntax.TryReadLength(value, out var length))
            {
                throw new HttpRefusedException(400, "Content-Length is not one number");
            }

            (HasLength, Length) = (true, length);
        }
        else if (HttpSyntax.Same(name, "transfer-encoding"u8))
        {
            if (IsChunked || !HttpSyntax.Same(value, "chunked"u8))
            {
                throw new HttpRefusedException(400, "Transfer-Encoding is not chunked, once");
            }

            IsChunked = true;
        }
        else if (HttpSyntax.Same(name, "host"u8))
        {
            (Hosts, Host) = (Hosts + 1, at);
        }
        else if (HttpSyntax.Same(name, "connection"u8))
        {
            foreach (var option in value.Split((byte)','))
            {
                var word = HttpSyntax.Trim(value[option]);
                var from = at.Start.Value + option.Start.Value + value[option].IndexOfAnyExcept(" \t"u8);
                if (word.IsEmpty)
                {
                    continue;
                }

                if (Frames(word) || Options.Count == MaxFields)
                {
                    throw new HttpRefusedException(400, "Connection names a field that frames the message");
                }

                Options.Add(from..(from + word.Length));
                Closes |= HttpSyntax.Same(word, "close"u8);
            }
        }
        else if (HttpSyntax.Same(name, "upgrade"u8))
        {
            Upgrade = at;
        }
        else if (HttpSyntax.Same(name, "content_length"u8) || HttpSyntax.Same(name, "transfer_encoding"u8))
        {
            throw new HttpRefusedException(400, "a field is named like one that frames the message, but for its underscore");
        }

        if (HasLength && IsChunked)
        {
            throw new HttpRefusedException(400, "both Content-Length and Transfer-Encoding");
        }
    }

    protected bool HasOption(ReadOnlySpan<byte> word)
    {
        foreach (var option in Options)
        {
            if (HttpSyntax.Same(Head.Span[option], word))
            {
                return true;
            }
        }

        return false;
    }

    private bool IsOfThisHop(ReadOnlySpan<byte> name) => HttpSyntax.Same(name, "connection"u8) || HttpSyntax.Same(name, "keep-alive"u8)
        || HttpSyntax.Same(name, "proxy-connection"u8) || HttpSyntax.Same(name, "upgrade"u8) || HttpSyntax.Same(name, "http2-settings"u8)
        || (HasOption(name) && !HttpSyntax.Same(name, "te"u8));
}
