using System.Buffers;
using System.Text;

namespace Fabric.Protocol.Http;

/// <summary>The head of a response (RFC 9112 §4), read as strictly as requests are: what follows it must be where the caller looks for it.</summary>
public sealed class Http1Response : Http1Fields
{
    private Range _reason;
    private bool _upgrades;

    public int Status { get; private set; }

    /// <summary>Another response follows to the same request.</summary>
    public bool IsInterim => Status is >= 100 and < 200 && Status != 101;

    /// <summary>Reads a head, from its first line to the empty one. Throws <see cref="HttpRefusedException"/> with 502.</summary>
    /// <param name="bytes">The head.</param>
    /// <param name="method">Of the request.</param>
    /// <param name="upgrades">The request asked to go on as a WebSocket.</param>
    public void Read(ReadOnlyMemory<byte> bytes, string method, bool upgrades)
    {
        try
        {
            ReadHead(bytes, method, upgrades);
        }
        catch (HttpRefusedException refused)
        {
            throw new HttpRefusedException(502, "the response cannot be read: " + refused.Message);
        }
    }

    /// <summary>Writes the head as the caller gets it.</summary>
    public void Write(IBufferWriter<byte> to)
    {
        to.Write("HTTP/1.1 "u8);
        to.Write(Encoding.ASCII.GetBytes($"{Status} "));
        to.Write(Head.Span[_reason]);
        to.Write("\r\n"u8);
        WriteFields(to, _upgrades);
        to.Write(_upgrades ? "Connection: Upgrade\r\n\r\n"u8 : Closes && !IsInterim ? "Connection: close\r\n\r\n"u8 : "\r\n"u8);
    }

    private void ReadHead(ReadOnlyMemory<byte> bytes, string method, bool upgrades)
    {
        var head = bytes.Span;
        var at = 0;
        var line = Line(head, ref at);
        var isOld = line.StartsWith("HTTP/1.0 "u8);
        if (line.Length < 12 || (!isOld && !line.StartsWith("HTTP/1.1 "u8)) || !HttpSyntax.TryReadLength(line[9..12], out var status)
            || status is < 100 or > 599 || (line.Length > 12 && line[12] != ' ') || !HttpSyntax.IsValue(line))
        {
            throw new HttpRefusedException(502, "the first line is not HTTP/1.1 STATUS REASON");
        }

        (Status, _reason) = ((int)status, Math.Min(13, line.Length)..line.Length);
        ReadFields(bytes, at);
        _upgrades = Status == 101;
        if (_upgrades && (!upgrades || Upgrade is not { } to || !HttpSyntax.Same(head[to], "websocket"u8)))
        {
            throw new HttpRefusedException(502, "it goes on as what was not asked for");
        }

        Body = method == "HEAD" || Status is < 200 or 204 or 304 ? HttpBody.None
            : IsChunked ? HttpBody.Chunked
            : !HasLength ? HttpBody.UntilClose
            : Length > 0 ? HttpBody.Length : HttpBody.None;
        Closes |= (isOld && !HasOption("keep-alive"u8)) || Body == HttpBody.UntilClose;
    }
}
