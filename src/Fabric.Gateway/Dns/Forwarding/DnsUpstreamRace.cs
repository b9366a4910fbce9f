using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>How a question went. Without a response, <see cref="Problem"/> says why.</summary>
internal sealed record DnsUpstreamAnswer(DnsResponse? Response, IPEndPoint? Server, TimeSpan RoundTrip, string Problem)
{
    /// <summary>Whether a server answered, though not usefully.</summary>
    public bool SomeoneAnswered { get; init; }
}

/// <summary>
/// Asks the servers of a zone: the best first, the next one as well when it is late, at once when it fails, each at most twice. Who was late
/// may still answer: the first useful answer counts. SERVFAIL, REFUSED and the like are no useful answers.
/// </summary>
internal static class DnsUpstreamRace
{
    /// <summary>Times that a question is sent at most.</summary>
    public const int MaxAttempts = 6;

    private const int Rounds = 2;

    public static async Task<DnsUpstreamAnswer> RunAsync(
        DnsForwardRoute route, ReadOnlyMemory<byte> question, bool dnssecOk, bool checkingDisabled, TimeSpan deadline, TimeProvider time,
        CancellationToken cancellationToken)
    {
        var order = route.Order();
        if (order.Length == 0)
        {
            return new DnsUpstreamAnswer(null, null, default, route.Upstreams.IsEmpty
                ? "there is no server to ask" : "every server to ask leads back to this gateway");
        }

        using var late = new CancellationTokenSource(deadline, time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        var attempts = new List<Task<DnsUpstreamAnswer>>(2);
        DnsUpstreamAnswer? last = null;
        try
        {
            var most = Math.Min(order.Length * Rounds, MaxAttempts);
            for (var sent = 0; sent < most || attempts.Count > 0;)
            {
                var waiting = Timeout.InfiniteTimeSpan;
                if (sent < most)
                {
                    var upstream = order[sent % order.Length];
                    attempts.Add(TryAsync(upstream, question.Span, dnssecOk, checkingDisabled, time, stop.Token));
                    waiting = upstream.Patience * (1 << sent / order.Length);
                    sent++;
                    waiting = sent == most ? Timeout.InfiniteTimeSpan : waiting;
                }

                var patience = Task.Delay(waiting, time, stop.Token);
                var ended = await Task.WhenAny(attempts.Append<Task>(patience));
                if (ended == patience)
                {
                    if (stop.IsCancellationRequested)
                    {
                        break;
                    }

                    order[(sent - 1) % order.Length].Failed("it did not answer in time");
                    continue;
                }

                var attempt = (Task<DnsUpstreamAnswer>)ended;
                attempts.Remove(attempt);
                last = await attempt;
                if (last.Response is not null)
                {
                    foreach (var other in order.Where(o => !o.Server.Equals(last.Server)))
                    {
                        other.Passed();
                    }

                    return last;
                }
            }

            if (stop.IsCancellationRequested && attempts.Count > 0)
            {
                order[(most - 1) % order.Length].Failed("it did not answer in time");
            }

            return last ?? new DnsUpstreamAnswer(null, null, default, "no server answers in time");
        }
        finally
        {
            await stop.CancelAsync();
            // None throws.
            await Task.WhenAll(attempts);
        }
    }

    private static Task<DnsUpstreamAnswer> TryAsync(
        DnsUpstream upstream, ReadOnlySpan<byte> question, bool dnssecOk, bool checkingDisabled, TimeProvider time,
        CancellationToken cancellationToken) =>
        TryAsync(upstream, DnsForwardQuery.Create(question, dnssecOk, checkingDisabled), time, cancellationToken);

    /// <summary>Asks one server, and notes how it did. Does not throw.</summary>
    public static async Task<DnsUpstreamAnswer> TryAsync(
        DnsUpstream upstream, DnsForwardQuery query, TimeProvider time, CancellationToken cancellationToken)
    {
        var began = time.GetTimestamp();
        upstream.Asked();
        try
        {
            var response = await DnsUpstreamExchange.AskAsync(upstream.Server, query, cancellationToken);
            var roundTrip = time.GetElapsedTime(began);
            upstream.Answered(roundTrip);
            return response.Rcode is DnsRcode.NoError or DnsRcode.NxDomain
                ? new DnsUpstreamAnswer(response, upstream.Server, roundTrip, "")
                : new DnsUpstreamAnswer(
                    null, upstream.Server, roundTrip, $"{upstream.Server} answered {response.Rcode.ToString().ToUpperInvariant()}")
                {
                    SomeoneAnswered = true,
                };
        }
        catch (OperationCanceledException)
        {
            return new DnsUpstreamAnswer(null, upstream.Server, time.GetElapsedTime(began), $"{upstream.Server} did not answer in time");
        }
        catch (Exception e) when (e is SocketException or DnsExchangeException or IOException)
        {
            // Out of descriptors or memory: our trouble, and not the server's.
            if (e is not SocketException { SocketErrorCode: SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable })
            {
                upstream.Failed(e.Message);
            }

            return new DnsUpstreamAnswer(null, upstream.Server, time.GetElapsedTime(began), $"{upstream.Server}: {e.Message}");
        }
    }
}
