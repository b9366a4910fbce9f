using System.Buffers;
using System.Text;

namespace Fabric.Protocol.Http;

/// <summary>The head of a request (RFC 9112 §3).</summary>
public sealed class Http1Request : Http1Fields
{
    private Range _target;
    private bool _isOld;

    public string Method { get; private set; } = "";

    /// <summary>Path and query as they were sent; <c>*</c> for OPTIONS of the whole server.</summary>
    public ReadOnlySpan<byte> Target => _target.Equals(default) ? "/"u8 : Head.Span[_target];

    /// <summary>It asks to go on as a WebSocket. Other upgrades are not passed on: what is spoken after them could not be read.</summary>
    public bool IsWebSocket { get; private set; }

    /// <summary>Reads a head, from its first line to the empty one. Throws <see cref="HttpRefusedException"/>.</summary>
    public void Read(ReadOnlyMemory<byte> bytes)
    {
        var head = bytes.Span;
        var at = 0;
        var line = Line(head, ref at);
        var (first, last) = (line.IndexOf((byte)' '), line.LastIndexOf((byte)' '));
        if (first <= 0 || last <= first + 1 || line[(first + 1)..last].ContainsAnyExceptInRange((byte)'!', (byte)'~'))
        {
            throw new HttpRefusedException(400, "the first line is not METHOD TARGET HTTP/1.1");
        }

        var version = line[(last + 1)..];
        _isOld = version.SequenceEqual("HTTP/1.0"u8);
        if (!_isOld && !version.SequenceEqual("HTTP/1.1"u8))
        {
            throw version.Length == 8 && version.StartsWith("HTTP/"u8) ? new HttpRefusedException(505, "neither HTTP/1.1 nor HTTP/1.0")
                : new HttpRefusedException(400, "the first line is not METHOD TARGET HTTP/1.1");
        }

        if (!HttpSyntax.IsMethod(line[..first]))
        {
            throw new HttpRefusedException(400, "the method is not in capitals");
        }

        Method = Known(line[..first]);
        ReadFields(bytes, at);
        Frame();
        Locate(head, (first + 1)..last);
    }

    /// <summary>Writes the head as the next hop gets it: one way to write what was read, with the path alone as its target.</summary>
    /// <param name="to">Where.</param>
    /// <param name="traceParent">Stands in place of the traceparent that was read (W3C trace-context §3.4); null: that one does.</param>
    public void Write(IBufferWriter<byte> to, string? traceParent = null)
    {
        to.Write(Encoding.ASCII.GetBytes(Method));
        to.Write(" "u8);
        to.Write(Target);
        to.Write(_isOld ? " HTTP/1.0\r\n"u8 : " HTTP/1.1\r\n"u8);
        WriteFields(to, IsWebSocket, butTraceParent: traceParent is not null);
        if (traceParent is not null)
        {
            to.Write("traceparent: "u8);
            to.Write(Encoding.ASCII.GetBytes(traceParent));
            to.Write("\r\n"u8);
        }

        to.Write(IsWebSocket ? "Connection: Upgrade\r\n\r\n"u8 : Closes ? "Connection: close\r\n\r\n"u8
            : HasOption("te"u8) ? "Connection: TE\r\n\r\n"u8 : "\r\n"u8);
    }

    private static string Known(ReadOnlySpan<byte> method) =>
        method.SequenceEqual("GET"u8) ? "GET" : method.SequenceEqual("POST"u8) ? "POST" : Encoding.ASCII.GetString(method);

    private void Frame()
    {
        if (_isOld && IsChunked)
        {
            throw new HttpRefusedException(400, "Transfer-Encoding in HTTP/1.0");
        }

        Body = IsChunked ? HttpBody.Chunked : HasLength && Length > 0 ? HttpBody.Length : HttpBody.None;
        Closes |= _isOld;
        IsWebSocket = !_isOld && Method == "GET" && Body == HttpBody.None && Upgrade is { } upgrade
            && HttpSyntax.Same(Head.Span[upgrade], "websocket"u8) && HasOption("upgrade"u8);
    }

    private void Locate(ReadOnlySpan<byte> head, Range target)
    {
        var text = head[target];
        if (Method == "CONNECT")
        {
            throw new HttpRefusedException(405, "CONNECT asks for a tunnel");
        }

        if (Hosts > 1 || (Hosts == 0 && !_isOld) || (Hosts == 1 && !HttpSyntax.IsAuthority(head[Host])))
        {
            throw new HttpRefusedException(400, Hosts > 1 ? "more than one Host" : Hosts == 0 ? "no Host" : "Host is not a host");
        }

        _target = target;
        if (text[0] == '/' || (Method == "OPTIONS" && text.SequenceEqual("*"u8)))
        {
            return;
        }

        const int Scheme = 7;
        if (text.Length <= Scheme || !HttpSyntax.Same(text[..Scheme], "http://"u8))
        {
            throw new HttpRefusedException(400, "the target is neither a path nor http://host/path");
        }

        var authority = text[Scheme..];
        var end = authority.IndexOfAny((byte)'/', (byte)'?');
        authority = end < 0 ? authority : authority[..end];
        if (authority.IsEmpty || !HttpSyntax.IsAuthority(authority) || Hosts == 0 || !HttpSyntax.SameAuthority(authority, head[Host])
            || (end >= 0 && text[Scheme + end] == '?'))
        {
            throw new HttpRefusedException(400, "the target is of another host than Host says, or has no path");
        }

        _target = end < 0 ? default : (target.Start.Value + Scheme + end)..target.End;
    }
}
