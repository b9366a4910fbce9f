using System.Net;
using System.Net.Sockets;
using Fabric.Testing;
using Fabric.Tunnel;
using Fabric.Tunnel.Drivers;

namespace Fabric.Benchmarks;

/// <summary>A pair of tunnels on loopback, in this process: client, plain TCP, lane, plain TCP, server.</summary>
internal sealed class TunnelPair : IAsyncDisposable
{
    private static readonly IPEndPoint _any = new(IPAddress.Loopback, 0);

    private readonly TestAuthority _authority = new();
    private readonly TcpListener _server = new(_any);
    private readonly GatewayTunnel _alpha;
    private readonly GatewayTunnel _beta;

    private TunnelPair(TunnelDriver driver)
    {
        _server.Start();
        var there = new Fixed((IPEndPoint)_server.LocalEndpoint);
        _alpha = Tunnel("alpha");
        _beta = Tunnel("beta");

        GatewayTunnel Tunnel(string name) => new(new TunnelOptions
        {
            Identity = _authority.Gateway(name),
            Ingress = there,
            Egress = there,
            Time = TimeProvider.System,
            Random = new Random(1),
            Driver = driver,
        });
    }

    /// <summary>Bytes of buffers in use.</summary>
    public long Held => _alpha.Status.BufferedBytes + _beta.Status.BufferedBytes;

    public static async Task<TunnelPair> StartAsync(TunnelDriver driver)
    {
        var pair = new TunnelPair(driver);
        pair._beta.Reconcile(new TunnelPlan { Listen = [_any], Lanes = [new LanePlan("alpha", "lo", null)] });
        pair._alpha.Reconcile(new TunnelPlan
        {
            Lanes = [new LanePlan("beta", "lo", pair._beta.Status.Listeners[0].Address)],
            Services = [new ServiceListener("bulk", 1, _any)],
        });
        await Wait.UntilAsync(() => pair._alpha.Status.Sessions[0].ActiveLink is not null, () => "a lane");

        return pair;
    }

    /// <summary>A connection: the client's end and the server's.</summary>
    public async Task<(Socket Client, Socket Server)> ConnectAsync()
    {
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await client.ConnectAsync(_alpha.Status.Listeners[0].Address);
        var server = await _server.AcceptSocketAsync();
        server.NoDelay = true;
        return (client, server);
    }

    public async ValueTask DisposeAsync()
    {
        await _alpha.DisposeAsync();
        await _beta.DisposeAsync();
        _server.Stop();
        _authority.Dispose();
    }

    private sealed class Fixed(IPEndPoint server) : IIngress, IEgress
    {
        public ValueTask<IngressPlan> PlanAsync(ServiceListener listener, IPEndPoint client, CancellationToken cancellationToken) =>
            new(new IngressPlan([new IngressRoute("beta", new StreamOpen("bulk", 1, ""))]));

        public void Ended(IngressPlan plan, StreamSummary summary)
        {
        }

        public ValueTask<EgressVerdict> DecideAsync(string? peer, StreamOpen open, CancellationToken cancellationToken) =>
            new(new EgressVerdict.Dial([server], TimeSpan.FromSeconds(2)));

        public EgressVerdict.Refuse? Review(string? peer, StreamOpen open) => null;

        public void DialFailed(StreamOpen open, IPEndPoint endpoint, string reason)
        {
        }

        public void Ended(string? peer, StreamOpen open, StreamSummary summary)
        {
        }
    }
}
