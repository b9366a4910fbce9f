using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>
/// Answers DNS over UDP, TCP and TLS out of the zone that is current at each query. Waits for nobody: a datagram is answered on the
/// thread that received it, or left to the forwarder. Order of a query: <see cref="DnsUdpLoop"/> or <see cref="DnsTcpListener"/> → <see cref="Answer"/> →
/// <see cref="DnsResponder"/>.
/// </summary>
public sealed class DnsServer : IAsyncDisposable
{
    private readonly DnsServerOptions _options;
    private readonly Func<DnsZone> _zone;
    private readonly TimeProvider _time;
    private readonly DnsGuard _guard;
    private readonly ManualResetEventSlim _stop = new();
    private readonly List<DnsUdpLoop> _udp = [];
    private readonly DnsCounters _tcpCounters = new();
    private DnsTcpListener? _tcp;

    /// <param name="options">Where to listen, and limits.</param>
    /// <param name="zone">The current zone. Called for each query on the threads that answer: it must return at once.</param>
    /// <param name="time">For idle timeouts, cookies and limits.</param>
    public DnsServer(DnsServerOptions options, Func<DnsZone> zone, TimeProvider time)
    {
        options.Check();
        (_options, _zone, _time) = (options, zone, time);
        _guard = new DnsGuard(options.Identifier, options.ResponsesPerSecond, time);
    }

    /// <summary>Where it listens, with the ports taken; empty before <see cref="Start"/>.</summary>
    public ImmutableArray<IPEndPoint> EndPoints { get; private set; } = [];

    /// <summary>Where it listens for TLS, likewise.</summary>
    public ImmutableArray<IPEndPoint> TlsEndPoints { get; private set; } = [];

    public DnsStatistics Statistics => DnsCounters.Read([_tcpCounters, .. _udp.Select(l => l.Counters)], _tcp?.Connections ?? 0);

    /// <summary>Binds everything, then answers. May be called again after it has failed: nothing stays bound.</summary>
    /// <exception cref="DnsListenException">An endpoint could not be bound.</exception>
    public void Start()
    {
        if (!EndPoints.IsEmpty)
        {
            throw new InvalidOperationException("the DNS server has been started");
        }

        ObjectDisposedException.ThrowIf(_stop.IsSet, this);
        var bound = new List<DnsSockets>();
        try
        {
            foreach (var endPoint in _options.Listen)
            {
                bound.Add(DnsSockets.Bind(endPoint, _options.UdpThreads));
            }

            foreach (var endPoint in _options.ListenTls)
            {
                bound.Add(DnsSockets.BindTls(endPoint));
            }
        }
        catch
        {
            bound.ForEach(b => b.Dispose());
            throw;
        }

        EndPoints = [.. bound.Where(b => !b.Tls).Select(b => (IPEndPoint)b.Tcp.LocalEndPoint!)];
        TlsEndPoints = [.. bound.Where(b => b.Tls).Select(b => (IPEndPoint)b.Tcp.LocalEndPoint!)];
        _tcp = new DnsTcpListener([.. bound.Select(b => (b.Tcp, b.Tls))], _options, _time, _tcpCounters, AnswerTcp, ForwardTcpAsync);
        foreach (var socket in bound.SelectMany(b => b.Udp))
        {
            _udp.Add(new DnsUdpLoop(socket, AnswerUdp, ForwardUdp, _options.Portable, _stop)
            {
                Timing = _options.Answered is { } answered ? new DnsTiming(answered, _time) : null,
            });
        }

        _udp.ForEach(l => l.Start());
    }

    public async ValueTask DisposeAsync()
    {
        if (_stop.IsSet)
        {
            return;
        }

        _stop.Set();
        _udp.ForEach(l => l.Wake());
        if (_tcp is not null)
        {
            await _tcp.DisposeAsync();
        }

        // A thread holds its socket for at most one query more.
        _udp.ForEach(l => l.Join());
    }

    /// <summary>The address in a socket address, 4 or 16 bytes (its place is the same on all systems).</summary>
    internal static ReadOnlySpan<byte> AddressIn(ReadOnlySpan<byte> socketAddress) => socketAddress.Length >= 24
        ? socketAddress.Slice(8, 16) : socketAddress.Length >= 8 ? socketAddress.Slice(4, 4) : default;

    internal int AnswerUdp(ReadOnlySpan<byte> query, Span<byte> response, ReadOnlySpan<byte> address, DnsCounters counters) =>
        Answer(query, response, new DnsAsker(DnsTransport.Udp, address, _guard) { Forwarder = _options.Forwarder }, counters);

    internal int AnswerTcp(ReadOnlySpan<byte> query, Span<byte> response, in DnsTcpClient client) => Answer(
        query, response,
        new DnsAsker(client.Tls ? DnsTransport.Tls : DnsTransport.Tcp, client.Address, _guard)
        {
            Forwarder = _options.Forwarder,
            KeepAlive = client.KeepAlive,
        },
        _tcpCounters);

    /// <summary>Counts, answers, counts. Never throws: what went wrong inside is SERVFAIL. 0: no answer is due; negative: the forwarder
    /// answers later.</summary>
    private int Answer(ReadOnlySpan<byte> query, Span<byte> response, in DnsAsker asker, DnsCounters counters)
    {
        counters.Received(asker.Transport);
        int length;
        DnsRcode rcode;
        try
        {
            length = DnsResponder.Respond(_zone(), query, response, asker, out rcode);
            if (length == DnsResponder.Forward)
            {
                length = asker.Forwarder!.TryAnswer(query, response, asker);
                if (length == 0)
                {
                    return DnsResponder.Forward;
                }

                rcode = RcodeOf(response);
            }
        }
        catch (Exception)
        {
            counters.Fault();
            (length, rcode) = (DnsResponder.ServFail(query, response), DnsRcode.ServFail);
        }

        if (length == 0)
        {
            counters.Dropped();
        }
        else
        {
            counters.Answered(rcode, truncated: (response[2] & 0x02) != 0);
        }

        return length;
    }

    /// <summary>Without the upper bits, which the forwarder does not use.</summary>
    private static DnsRcode RcodeOf(ReadOnlySpan<byte> response) => (DnsRcode)(response[3] & 0xF);

    private void ForwardUdp(ReadOnlySpan<byte> query, ReadOnlySpan<byte> address, DnsCounters counters, IDnsWayBack back) =>
        _ = ForwardUdpAsync(new DnsForwardedQuery(query.ToArray(), DnsTransport.Udp, address.ToArray(), _guard), counters, back);

    private async Task ForwardUdpAsync(DnsForwardedQuery query, DnsCounters counters, IDnsWayBack back)
    {
        var write = await ForwardAsync(query, counters);
        var response = new byte[DnsResponder.UdpBuffer];
        if (!back.Send(response.AsSpan(0, write(response))))
        {
            counters.Dropped();
        }
    }

    internal ValueTask<DnsAnswerWriter> ForwardTcpAsync(ReadOnlyMemory<byte> query, DnsTcpClient client) => ForwardAsync(
        new DnsForwardedQuery(query, client.Tls ? DnsTransport.Tls : DnsTransport.Tcp, client.Address, _guard) { KeepAlive = client.KeepAlive },
        _tcpCounters);

    /// <summary>As <see cref="Answer"/>, from others. Neither it nor what it returns throws.</summary>
    private async ValueTask<DnsAnswerWriter> ForwardAsync(DnsForwardedQuery query, DnsCounters counters)
    {
        DnsAnswerWriter? write = null;
        try
        {
            write = await _options.Forwarder!.AskAsync(query);
        }
        catch (Exception)
        {
            counters.Fault();
        }

        return response =>
        {
            int length;
            try
            {
                length = write?.Invoke(response) ?? DnsResponder.ServFail(query.Message.Span, response);
            }
            catch (Exception)
            {
                counters.Fault();
                length = DnsResponder.ServFail(query.Message.Span, response);
            }

            counters.Answered(RcodeOf(response), truncated: (response[2] & 0x02) != 0);
            return length;
        };
    }
}

/// <summary>An endpoint could not be bound; the message says which, why, and what to do.</summary>
public sealed class DnsListenException(IPEndPoint endPoint, string transport, SocketException cause)
    : IOException($"DNS cannot listen on {endPoint}/{transport}: {cause.Message} ({Hint(cause.SocketErrorCode)})", cause)
{
    public IPEndPoint EndPoint { get; } = endPoint;

    private static string Hint(SocketError error) => error switch
    {
        SocketError.AddressAlreadyInUse => "another server has it; give this gateway another dns address or port",
        SocketError.AccessDenied => "ports below 1024 need CAP_NET_BIND_SERVICE; or take a port such as 5353",
        SocketError.AddressNotAvailable => "no interface of this machine has that address",
        _ => "see the gateway's dns address in the topology",
    };
}
