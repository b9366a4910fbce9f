using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Identity;
using Fabric.Testing;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Tests;

/// <summary>A gateway in the test process: what it decides is set by hand.</summary>
internal sealed class TestGateway : IIngress, IEgress, IAsyncDisposable
{
    public TestGateway(IGatewayIdentity identity, TunnelDriver driver, TunnelLimits? limits = null, IReadOnlyDictionary<string, Func<ProtocolConnection, Task>>? protocols = null)
    {
        Tunnel = new GatewayTunnel(new TunnelOptions
        {
            Identity = identity,
            Ingress = this,
            Egress = this,
            Time = TimeProvider.System,
            Random = new Random(1),
            Limits = limits ?? new TunnelLimits(),
            Driver = driver,
            Faults = Faults,
            Protocols = protocols ?? new Dictionary<string, Func<ProtocolConnection, Task>>(),
            Log = line => Log.Enqueue(line),
        });
        Tunnel.SessionChanged += _ => Changed.Release();
        Name = identity.Id.Gateway;
    }

    public string Name { get; }

    public GatewayTunnel Tunnel { get; }

    public LinkFaults Faults { get; } = new();

    public ConcurrentQueue<string> Log { get; } = new();

    public SemaphoreSlim Changed { get; } = new(0);

    public Func<ServiceListener, IngressPlan> Plan { get; set; } = _ => new IngressPlan([], "nothing is served");

    public Func<string?, StreamOpen, EgressVerdict> Decide { get; set; } =
        (_, _) => new EgressVerdict.Refuse(StreamCode.NoService, "nothing is exported");

    /// <summary>Decides instead, when set, and may take its time.</summary>
    public Func<string?, StreamOpen, ValueTask<EgressVerdict>>? DecideLater { get; set; }

    public ConcurrentQueue<StreamSummary> IngressEnded { get; } = new();

    public ConcurrentQueue<StreamSummary> EgressEnded { get; } = new();

    public ConcurrentQueue<IPEndPoint> DialsFailed { get; } = new();

    public ValueTask<IngressPlan> PlanAsync(ServiceListener listener, IPEndPoint client, CancellationToken cancellationToken) => new(Plan(listener));

    public void Ended(IngressPlan plan, StreamSummary summary) => IngressEnded.Enqueue(summary);

    public ValueTask<EgressVerdict> DecideAsync(string? peer, StreamOpen open, CancellationToken cancellationToken) =>
        DecideLater is { } later ? later(peer, open) : new(Decide(peer, open));

    /// <summary>What a review answers.</summary>
    public Func<string?, StreamOpen, EgressVerdict.Refuse?> Reviewed { get; set; } = (_, _) => null;

    public EgressVerdict.Refuse? Review(string? peer, StreamOpen open) => Reviewed(peer, open);

    /// <summary>What a review of a stream that was opened here answers.</summary>
    public Func<StreamOpen, EgressVerdict.Refuse?> IngressReviewed { get; set; } = _ => null;

    public EgressVerdict.Refuse? Review(StreamOpen open) => IngressReviewed(open);

    public void DialFailed(StreamOpen open, IPEndPoint endpoint, string reason) => DialsFailed.Enqueue(endpoint);

    public void Ended(string? peer, StreamOpen open, StreamSummary summary) => EgressEnded.Enqueue(summary);

    public SessionStatus SessionWith(string peer) => Tunnel.Status.Sessions.Single(s => s.Peer == peer);

    public IPEndPoint Address(string listener) => Tunnel.Status.Listeners.Single(l => l.Name == listener).Address;

    public ValueTask DisposeAsync() => Tunnel.DisposeAsync();
}

/// <summary>
/// Gateways <c>alpha</c> and <c>beta</c> on loopback, with lanes over the links <c>one</c> and <c>two</c>, alpha dialling. Service
/// <c>web</c> of alpha leads through beta to <see cref="Server"/>.
/// </summary>
internal sealed class Pair : IAsyncDisposable
{
    public static readonly IPEndPoint AnyPort = new(IPAddress.Loopback, 0);
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>A socket that nothing refers to any more is reset by its finalizer, whatever is still on its way.</summary>
    private readonly ConcurrentQueue<Socket> _kept = new();

    private Pair(TestAuthority authority, TunnelDriver driver, TunnelLimits? limits)
    {
        Alpha = new TestGateway(authority.Gateway("alpha"), driver, limits);
        Beta = new TestGateway(authority.Gateway("beta"), driver, limits);
        Server = new TcpListener(IPAddress.Loopback, 0);
        Server.Start(1024);
    }

    public TestGateway Alpha { get; }

    public TestGateway Beta { get; }

    public TcpListener Server { get; }

    /// <summary>What runs at alpha.</summary>
    public TunnelPlan AlphaPlan { get; private set; } = new();

    public IPEndPoint Service => Alpha.Address("web");

    public static async Task<Pair> StartAsync(TestAuthority authority, TunnelDriver driver, TunnelLimits? limits = null)
    {
        var pair = new Pair(authority, driver, limits);
        pair.Beta.Decide = (_, _) => new EgressVerdict.Dial([(IPEndPoint)pair.Server.LocalEndpoint], Limit);
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute("beta", Open)]);
        pair.Beta.Tunnel.Reconcile(new TunnelPlan
        {
            Listen = [AnyPort],
            Lanes = [new LanePlan("alpha", "one", null), new LanePlan("alpha", "two", null)],
        });
        var port = pair.Beta.Address("gateway port");
        pair.AlphaPlan = new TunnelPlan
        {
            Lanes = [new LanePlan("beta", "one", port), new LanePlan("beta", "two", port)],
            Services = [new ServiceListener("web", 80, AnyPort)],
        };
        pair.Alpha.Tunnel.Reconcile(pair.AlphaPlan);
        await pair.LanesAsync(2);
        pair.Paths(["one", "two"], []);
        return pair;
    }

    public static StreamOpen Open { get; } = new("web.shop", 80, "spiffe://test.example/ns/a/sa/b");

    /// <summary>Waits until so many lanes are up at both ends.</summary>
    public async Task LanesAsync(int count)
    {
        foreach (var (gateway, peer) in new[] { (Alpha, "beta"), (Beta, "alpha") })
        {
            await Until(() => gateway.SessionWith(peer).Lanes.Count(l => l.Channel == 0 && l.State == LaneState.Up) == count, $"{count} lanes at {gateway.Name}");
        }
    }

    public void Paths(ImmutableArray<string> preferred, ImmutableArray<string> down)
    {
        Alpha.Tunnel.SetPaths("beta", new LinkPaths(preferred, [], down));
        Beta.Tunnel.SetPaths("alpha", new LinkPaths(preferred, [], down));
    }

    /// <summary>Leads the lanes through these wires. Beta knocks at that port, or not at all.</summary>
    public async Task ThroughAsync(Wire one, Wire two, IPEndPoint? knock = null)
    {
        Beta.Tunnel.Reconcile(new TunnelPlan
        {
            Listen = [AnyPort],
            Lanes = [new LanePlan("alpha", "one", null) { Knock = knock }, new LanePlan("alpha", "two", null) { Knock = knock }],
        });
        Alpha.Tunnel.Reconcile(new TunnelPlan { Services = AlphaPlan.Services });
        await Until(() => Alpha.SessionWith("beta").ActiveLink is null && Beta.SessionWith("alpha").ActiveLink is null, "no lanes");
        AlphaPlan = AlphaPlan with { Lanes = [new LanePlan("beta", "one", one.Port), new LanePlan("beta", "two", two.Port)] };
        Alpha.Tunnel.Reconcile(AlphaPlan);
        await LanesAsync(2);
    }

    public void Cut(string link, LinkFault fault)
    {
        Alpha.Faults.Set("beta", link, fault);
        Beta.Faults.Set("alpha", link, fault);
    }

    /// <summary>A client's connection and the server's end of it.</summary>
    public async Task<(Socket Client, Socket Server)> ConnectAsync()
    {
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await client.ConnectAsync(Service);
        var server = await Server.AcceptSocketAsync().WaitAsync(Limit);
        server.NoDelay = true;
        _kept.Enqueue(client);
        _kept.Enqueue(server);
        return (client, server);
    }

    /// <summary>Waits for something that nothing announces, at most <see cref="Limit"/>.</summary>
    public static async Task Until(Func<bool> condition, string what)
    {
        var began = Environment.TickCount64;
        while (!condition())
        {
            if (Environment.TickCount64 - began > Limit.TotalMilliseconds)
            {
                throw new TimeoutException($"waited {Limit.TotalSeconds} s for: {what}");
            }

            await Task.Delay(5);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Alpha.DisposeAsync();
        await Beta.DisposeAsync();
        Server.Stop();
        foreach (var socket in _kept)
        {
            socket.Dispose();
        }
    }
}
