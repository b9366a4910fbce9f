namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>Writes an answer that has come.</summary>
/// <param name="response">As for <see cref="DnsResponder.Respond"/>.</param>
/// <returns>Bytes of the response.</returns>
public delegate int DnsAnswerWriter(Span<byte> response);

/// <summary>
/// Who answers for names outside the server's own zones. The server asks <see cref="Serves"/>, then <see cref="TryAnswer"/> on the thread that
/// received the query, then <see cref="AskAsync"/>, which waits for others and not on that thread. What comes back is a whole answer, id,
/// cookie and all: failures are SERVFAIL with an Extended DNS Error (RFC 8914), and never an exception.
/// </summary>
public interface IDnsForwarder
{
    /// <summary>Whether names of others are looked up for that address (4 or 16 bytes). Allocates nothing.</summary>
    bool Serves(ReadOnlySpan<byte> address);

    /// <summary>Answers from what is known; returns at once.</summary>
    /// <param name="query">Well formed, of class IN, and with RD.</param>
    /// <param name="response">As for <see cref="DnsResponder.Respond"/>.</param>
    /// <param name="asker">Who asks.</param>
    /// <returns>Bytes of the response; 0: others must be asked.</returns>
    int TryAnswer(ReadOnlySpan<byte> query, Span<byte> response, in DnsAsker asker);

    /// <summary>Asks others. Ends within <see cref="DnsForwarderOptions.Deadline"/>; at a limit, at once.</summary>
    ValueTask<DnsAnswerWriter> AskAsync(DnsForwardedQuery query);
}

/// <summary>A query that outlives the buffers in which it came.</summary>
/// <param name="Message">The query as received.</param>
/// <param name="Transport">How it came.</param>
/// <param name="Address">From where, 4 or 16 bytes.</param>
/// <param name="Guard">For its cookie.</param>
public sealed record DnsForwardedQuery(
    ReadOnlyMemory<byte> Message, DnsTransport Transport, ReadOnlyMemory<byte> Address, DnsGuard? Guard)
{
    /// <summary>See <see cref="DnsAsker.KeepAlive"/>.</summary>
    public TimeSpan KeepAlive { get; init; }

    internal DnsAsker Asker => new(Transport, Address.Span, Guard) { KeepAlive = KeepAlive };
}
