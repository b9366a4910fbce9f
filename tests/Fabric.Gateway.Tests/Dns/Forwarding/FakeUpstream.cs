using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns.Forwarding;

/// <summary>A name server that says what a test wants, over real sockets. Probes are answered NXDOMAIN and not shown to the test.</summary>
internal sealed class FakeUpstream : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Func<DnsMessage, bool, DnsMessage?> _answer;
    private readonly Task _running;
    private readonly TcpListener _tcp;

    /// <param name="answer">Query and whether by TCP; null: no answer.</param>
    /// <param name="port">0: a free one.</param>
    public FakeUpstream(Func<DnsMessage, bool, DnsMessage?> answer, int port = 0)
    {
        _answer = answer;
        port = port == 0 ? FreePorts.Take(1)[0] : port;
        Socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        Socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
        _tcp = new TcpListener(IPAddress.Loopback, port);
        _tcp.Start();
        EndPoint = (IPEndPoint)Socket.LocalEndPoint!;
        _running = Task.WhenAll(Task.Run(UdpAsync), Task.Run(TcpAsync));
    }

    public Socket Socket { get; }

    public IPEndPoint EndPoint { get; }

    /// <summary>What was asked, and from which port.</summary>
    public ConcurrentQueue<(DnsMessage Query, bool Tcp, int Port)> Queries { get; } = new();

    /// <summary>Sent from this server's address before each answer over UDP.</summary>
    public Action<Socket, EndPoint, byte[]>? BeforeAnswer { get; set; }

    /// <summary>One A record for whatever is asked.</summary>
    public static DnsMessage Address(DnsMessage query, string address = "192.0.2.1", uint ttl = 300) => Reply(query) with
    {
        Answers = [new DnsRecord(query.Questions[0].Name, DnsClass.Internet, ttl, new DnsAddress(IPAddress.Parse(address)))],
    };

    public static DnsMessage Negative(DnsMessage query, DnsRcode rcode, uint ttl, uint minimum) => Reply(query) with
    {
        Rcode = rcode,
        Authorities =
        [
            new DnsRecord(DnsName.Parse("example"), DnsClass.Internet, ttl,
                new DnsSoa(DnsName.Parse("ns.example"), DnsName.Parse("h.example"), 1, 2, 3, 4, minimum)),
        ],
    };

    public static DnsMessage Reply(DnsMessage query) => new()
    {
        Id = query.Id,
        Flags = DnsFlags.Response | DnsFlags.RecursionAvailable | DnsFlags.RecursionDesired | DnsFlags.AuthenticData,
        Questions = query.Questions,
        Additionals = query.Opt is null ? [] : [Opt],
    };

    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
        {
            return;
        }

        await _stop.CancelAsync();
        Socket.Dispose();
        _tcp.Dispose();
        await _running;
        _stop.Dispose();
    }

    private byte[]? Answer(byte[] bytes, bool tcp, EndPoint from)
    {
        var query = Read(bytes);
        if (query.Questions[0].Name.ToString().StartsWith("fabric-loop-", StringComparison.OrdinalIgnoreCase))
        {
            return (Reply(query) with { Rcode = DnsRcode.NxDomain }).Bytes();
        }

        Queries.Enqueue((query, tcp, ((IPEndPoint)from).Port));
        return _answer(query, tcp)?.Bytes();
    }

    private async Task UdpAsync()
    {
        var buffer = new byte[4096];
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var received = await Socket.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0), _stop.Token);
                var query = buffer[..received.ReceivedBytes];
                if (Answer(query, false, received.RemoteEndPoint) is { } answer)
                {
                    BeforeAnswer?.Invoke(Socket, received.RemoteEndPoint, query);
                    Socket.SendTo(answer, received.RemoteEndPoint);
                }
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
            {
                // An asker that has gone is told of by ICMP.
            }
        }
    }

    private async Task TcpAsync()
    {
        try
        {
            while (true)
            {
                using var client = await _tcp.AcceptTcpClientAsync(_stop.Token);
                var stream = client.GetStream();
                var prefix = new byte[2];
                await stream.ReadExactlyAsync(prefix, _stop.Token);
                var query = new byte[BinaryPrimitives.ReadUInt16BigEndian(prefix)];
                await stream.ReadExactlyAsync(query, _stop.Token);
                if (Answer(query, true, client.Client.RemoteEndPoint!) is { } answer)
                {
                    BinaryPrimitives.WriteUInt16BigEndian(prefix, (ushort)answer.Length);
                    await stream.WriteAsync(prefix.Concat(answer).ToArray(), _stop.Token);
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or IOException or SocketException)
        {
        }
    }
}
