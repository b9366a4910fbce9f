using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

public sealed record DnsServerOptions
{
    /// <summary>Where to listen, UDP and TCP; port 0 takes a free one, the same for both. Default 127.0.0.1:53. Name addresses
    /// rather than a wildcard on a host with several: an answer over UDP leaves from the address that the route
    /// prefers.</summary>
    public ImmutableArray<IPEndPoint> Listen { get; init; } = [new(IPAddress.Loopback, 53)];

    /// <summary>Threads that receive datagrams, per endpoint. Default 1; 1 to 64.</summary>
    public int UdpThreads { get; init; } = 1;

    /// <summary>Connections open at once, over all endpoints; one more is closed as soon as accepted. Default 128; 1 to
    /// 65,535.</summary>
    public int TcpConnections { get; init; } = 128;

    /// <summary>A connection that completes no query for this long is closed, as is one that does not take its answers.
    /// Default 10 s (RFC 7766 §6.2.3 asks for a few seconds).</summary>
    public TimeSpan TcpIdle { get; init; } = TimeSpan.FromSeconds(10);
}

/// <summary>
/// Answers DNS over UDP and TCP out of the zone that is current at each query. Waits for nobody: a datagram is answered on the
/// thread that received it. Order of a query: <see cref="ReceiveLoop"/> or <see cref="DnsTcpListener"/> → <see cref="Answer"/> →
/// <see cref="DnsResponder"/>.
/// </summary>
public sealed class DnsServer : IAsyncDisposable
{
    // The longest datagram: on Windows a longer one than the buffer would be an error, and errors cost.
    private const int ReceiveBuffer = 65535;
    private const int SocketBuffer = 1 << 20;
    private const int SioUdpConnReset = unchecked((int)0x9800000C);
    private static readonly TimeSpan ErrorPause = TimeSpan.FromMilliseconds(10);

    private readonly DnsServerOptions _options;
    private readonly Func<DnsZone> _zone;
    private readonly TimeProvider _time;
    private readonly DnsCounters _counters = new();
    private readonly ManualResetEventSlim _stop = new();
    private readonly List<Socket> _udp = [];
    private readonly List<Thread> _threads = [];
    private DnsTcpListener? _tcp;

    /// <param name="options">Where to listen, and limits.</param>
    /// <param name="zone">The current zone. Called for each query on the threads that answer: it must return at once.</param>
    /// <param name="time">For idle timeouts.</param>
    public DnsServer(DnsServerOptions options, Func<DnsZone> zone, TimeProvider time)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.UdpThreads, 1, "UdpThreads");
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.UdpThreads, 64, "UdpThreads");
        ArgumentOutOfRangeException.ThrowIfLessThan(options.TcpConnections, 1, "TcpConnections");
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.TcpConnections, 65535, "TcpConnections");
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(options.TcpIdle, TimeSpan.Zero, "TcpIdle");
        (_options, _zone, _time) = (options, zone, time);
    }

    /// <summary>Where it listens, with the ports taken; empty before <see cref="Start"/>.</summary>
    public ImmutableArray<IPEndPoint> EndPoints { get; private set; } = [];

    public DnsStatistics Statistics => _counters.Read(_tcp?.Connections ?? 0);

    /// <summary>Binds everything, then answers. May be called again after it has failed: nothing stays bound.</summary>
    /// <exception cref="DnsListenException">An endpoint could not be bound.</exception>
    public void Start()
    {
        if (!EndPoints.IsEmpty)
        {
            throw new InvalidOperationException("the DNS server has been started");
        }

        ObjectDisposedException.ThrowIf(_stop.IsSet, this);
        var bound = new List<(Socket Udp, Socket Tcp)>();
        try
        {
            foreach (var endPoint in _options.Listen)
            {
                bound.Add(Bind(endPoint));
            }
        }
        catch
        {
            bound.ForEach(b => Close(b.Udp, b.Tcp));
            throw;
        }

        EndPoints = [.. bound.Select(b => (IPEndPoint)b.Udp.LocalEndPoint!)];
        _udp.AddRange(bound.Select(b => b.Udp));
        _tcp = new DnsTcpListener([.. bound.Select(b => b.Tcp)], _options, _time, _counters, Answer);
        foreach (var socket in _udp)
        {
            for (var i = 0; i < _options.UdpThreads; i++)
            {
                var thread = new Thread(() => ReceiveLoop(socket)) { IsBackground = true, Name = "dns-udp" };
                _threads.Add(thread);
                thread.Start();
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_stop.IsSet)
        {
            return;
        }

        _stop.Set();
        _udp.ForEach(s => s.Dispose());
        if (_tcp is not null)
        {
            await _tcp.DisposeAsync();
        }

        // A thread holds its socket for at most one query more.
        _threads.ForEach(t => t.Join());
    }

    private void ReceiveLoop(Socket socket)
    {
        var query = new byte[ReceiveBuffer];
        var response = new byte[DnsResponder.UdpBuffer];
        var from = new SocketAddress(socket.AddressFamily);
        while (!_stop.IsSet)
        {
            int received;
            try
            {
                received = socket.ReceiveFrom(query, SocketFlags.None, from);
            }
            catch (Exception e) when (e is ObjectDisposedException or SocketException)
            {
                if (!_stop.IsSet)
                {
                    // The machine's trouble, such as no memory: go on, but not hot.
                    _counters.Fault();
                    _stop.Wait(ErrorPause);
                }

                continue;
            }

            var length = Answer(query.AsSpan(0, received), response, DnsTransport.Udp);
            if (length > 0 && !TrySend(socket, response.AsSpan(0, length), from))
            {
                _counters.Dropped();
            }
        }
    }

    /// <summary>False for an asker that cannot be reached. There may be many (forged sources): no reason to pause.</summary>
    private static bool TrySend(Socket socket, ReadOnlySpan<byte> response, SocketAddress to)
    {
        try
        {
            socket.SendTo(response, SocketFlags.None, to);
            return true;
        }
        catch (Exception e) when (e is ObjectDisposedException or SocketException)
        {
            return false;
        }
    }

    /// <summary>Counts, answers, counts. Never throws: what went wrong inside is SERVFAIL. 0: no answer is due.</summary>
    private int Answer(ReadOnlySpan<byte> query, Span<byte> response, DnsTransport transport)
    {
        _counters.Received(transport);
        int length;
        DnsRcode rcode;
        try
        {
            length = DnsResponder.Respond(_zone(), query, response, transport, out rcode);
        }
        catch (Exception)
        {
            _counters.Fault();
            (length, rcode) = (DnsResponder.ServFail(query, response), DnsRcode.ServFail);
        }

        if (length == 0)
        {
            _counters.Dropped();
        }
        else
        {
            _counters.Answered(rcode, truncated: (response[2] & 0x02) != 0);
        }

        return length;
    }

    /// <summary>A free port of UDP may be taken in TCP: then another one is tried, a few times.</summary>
    private static (Socket Udp, Socket Tcp) Bind(IPEndPoint endPoint)
    {
        for (var attempt = 1; ; attempt++)
        {
            var udp = new Socket(endPoint.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            var tcp = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            var what = "udp";
            try
            {
                if (endPoint.Address.Equals(IPAddress.IPv6Any))
                {
                    udp.DualMode = tcp.DualMode = true;
                }

                if (OperatingSystem.IsWindows())
                {
                    // Else an asker that has gone makes the next receive fail.
                    udp.IOControl(SioUdpConnReset, [0, 0, 0, 0], null);
                }

                udp.ReceiveBufferSize = SocketBuffer;
                udp.Bind(endPoint);
                what = "tcp";
                tcp.Bind(new IPEndPoint(endPoint.Address, ((IPEndPoint)udp.LocalEndPoint!).Port));
                tcp.Listen();
                return (udp, tcp);
            }
            catch (SocketException e)
            {
                Close(udp, tcp);
                if (what != "tcp" || endPoint.Port != 0 || attempt == 8)
                {
                    throw new DnsListenException(endPoint, what, e);
                }
            }
        }
    }

    private static void Close(Socket udp, Socket tcp)
    {
        udp.Dispose();
        tcp.Dispose();
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
