using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Ingress;
using Fabric.Gateway.Snapshot;
using Fabric.Routing.Sites;
using Fabric.Testing;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests.Ingress;

public sealed class IngressRouterTests
{
    private static readonly ServiceListener Listener = new("web.shop", 80, new IPEndPoint(IPAddress.Parse("127.65.0.7"), 80));
    private static readonly IPEndPoint Client = new(IPAddress.Loopback, 50000);

    private readonly ManualTime _time = new();
    private readonly IngressRouter _router;
    private TimeSpan _now;
    private readonly Dictionary<string, int> _elsewhere = [];

    /// <summary>How often each gateway was the first choice.</summary>
    private readonly Dictionary<string, int> _first = [];
    private FabricSnapshot? _snapshot = Samples.Snapshot(Samples.TwoSites, "paris-1");

    public IngressRouterTests() => _router = new IngressRouter(() => _snapshot, new Random(1))
    {
        LoadElsewhere = gateway => _elsewhere.GetValueOrDefault(gateway),
        Patience = TimeSpan.FromSeconds(5),
        Now = () => _now,
        Time = _time,
    };

    [Fact]
    public async Task Routes_name_gateway_service_and_caller_by_address()
    {
        Serve(View("virginia-1"));

        var route = Assert.Single((await PlanAsync(Client)).Routes);
        Assert.Equal(("virginia-1", new StreamOpen("web.shop", 80, Samples.Shop)), (route.Peer, route.Open with { TraceParent = "", Span = null }));

        route = Assert.Single((await PlanAsync(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 1))).Routes);
        Assert.Equal("spiffe://acme.example/site/paris/unidentified", route.Open.Caller);

        route = Assert.Single((await PlanAsync(new IPEndPoint(IPAddress.Loopback.MapToIPv6(), 1))).Routes);
        Assert.Equal(Samples.Shop, route.Open.Caller);
    }

    [Fact]
    public async Task Own_site_comes_first_and_needs_no_peer()
    {
        Serve(View("virginia-1"), new PortHealth(1, 1));

        Assert.Equal([null, "virginia-1"], (await PlanAsync(Client)).Routes.Select(r => r.Peer));
    }

    [Fact]
    public async Task Address_of_one_site_or_host_has_routes_of_its_own()
    {
        Serve(View("virginia-1"));
        var choice = SiteChoice.Rank(new SiteQuestion("web.shop", 80, "paris")
        {
            Exports = ["tokyo"],
            Gateways = [View("tokyo-1") with { Site = "tokyo" }, View("virginia-1")],
        });
        _snapshot = _snapshot! with { Choices = _snapshot.Choices.SetItem(("web.shop/tokyo/web-0", 80), choice) };

        var pinned = await _router.PlanAsync(Listener with { Place = "web.shop/tokyo/web-0", Host = "web-0" }, Client, default);
        Assert.Equal([("tokyo-1", new StreamOpen("web.shop", 80, Samples.Shop) { Host = "web-0" })], pinned.Routes.Select(r => (r.Peer, r.Open with { TraceParent = "", Span = null })));
        var nowhere = await _router.PlanAsync(Listener with { Place = "web.shop/lima" }, Client, default);
        Assert.Equal((0, "no service web.shop/lima:80 is declared"), (nowhere.Routes.Length, nowhere.Refusal));
    }

    [Fact]
    public async Task Less_loaded_gateway_of_two_that_are_as_good_comes_first()
    {
        Serve(View("virginia-1"), more: View("virginia-2"));
        _elsewhere["virginia-1"] = 20;

        for (var i = 0; i < 20; i++)
        {
            Assert.Equal(["virginia-2", "virginia-1"], (await PlanAsync(Client)).Routes.Select(r => r.Peer));
        }

        // With its own twenty there, both are as loaded, and stay so.
        for (var i = 0; i < 20; i++)
        {
            await PlanAsync(Client);
        }

        Assert.Equal(10, _first["virginia-1"]);
    }

    [Fact]
    public async Task Connections_that_are_over_are_no_load()
    {
        Serve(View("virginia-1"), more: View("virginia-2"));
        for (var i = 0; i < 50; i++)
        {
            var plan = await PlanAsync(Client);
            if (plan.Routes[0].Peer == "virginia-1")
            {
                _router.Ended(plan, new StreamSummary("web.shop", null, null, StreamCode.Ok, "", 0, 0, TimeSpan.Zero));
            }
        }

        // All that live are at virginia-2: one, which every later connection keeps away from.
        Assert.Equal(1, _first["virginia-2"]);
    }

    [Fact]
    public async Task Refusals_say_why()
    {
        Serve(View("virginia-1") with { Health = new PortHealth(2, 0) });
        await RefusedAsync("virginia: none of 2 endpoints behind virginia-1 is healthy");

        _snapshot = _snapshot! with { Choices = ImmutableDictionary<(string, int), SiteChoice>.Empty };
        await RefusedAsync("no service web.shop:80 is declared");

        _snapshot = null;
        await RefusedAsync("the gateway is starting");
    }

    [Fact]
    public async Task Service_without_a_site_is_waited_for_while_that_is_young()
    {
        Serve(View("virginia-1"));
        Lose();
        _now = TimeSpan.FromSeconds(3);
        var waiting = PlanAsync(Client);
        _router.Changed();
        Assert.Equal(1, _router.Held);

        Serve(View("virginia-1"));
        _router.Changed();
        Assert.Equal("virginia-1", (await waiting.WaitAsync(Wait.Limit)).Routes.Single().Peer);
        Assert.Equal(0, _router.Held);
    }

    [Fact]
    public async Task Waiting_for_a_site_ends()
    {
        Serve(View("virginia-1"));
        Lose();
        _now = TimeSpan.FromSeconds(3);
        var waiting = PlanAsync(Client);
        await Wait.UntilAsync(() => _router.Held == 1, () => "it waits");
        _time.Advance(TimeSpan.FromSeconds(1.9));
        Assert.False(waiting.IsCompleted);

        // By the clock alone, without a new snapshot.
        _now = TimeSpan.FromSeconds(5);
        _time.Advance(TimeSpan.FromSeconds(0.2));
        Assert.Equal("virginia: virginia-1 cannot be reached; waited for 5 s from when it was lost", (await waiting.WaitAsync(Wait.Limit)).Refusal);

        // Whoever comes later is told at once.
        await RefusedAsync("virginia: virginia-1 cannot be reached");
        Assert.Equal(0, _router.Held);
    }

    [Fact]
    public async Task Waiting_for_a_site_ends_with_the_gateway()
    {
        Serve(View("virginia-1"));
        Lose();
        using var stopping = new CancellationTokenSource();
        var waiting = _router.PlanAsync(Listener, Client, stopping.Token);
        await stopping.CancelAsync();
        Assert.Equal("the gateway is stopping", (await waiting.AsTask().WaitAsync(Wait.Limit)).Refusal);
    }

    private void Lose() => Serve(View("virginia-1") with { Reachable = false });

    [Theory]
    [InlineData(StreamCode.Ok, 1, 0)]
    [InlineData(StreamCode.ApplicationReset, 1, 0)]
    [InlineData(StreamCode.PolicyDenied, 0, 1)]
    [InlineData(StreamCode.SessionLost, 0, 1)]
    public void Ends_are_counted(StreamCode code, int accepted, int refused)
    {
        _router.Ended(new IngressPlan([]), new StreamSummary("web.shop", null, null, code, "", 0, 0, TimeSpan.Zero));

        Assert.Equal((accepted, refused), (_router.Accepted, _router.Refused));
    }

    private static GatewayView View(string name) => new(name, "virginia")
    {
        Reachable = true,
        PathScore = 5,
        CatalogAge = TimeSpan.Zero,
        Health = new PortHealth(2, 2),
    };

    private void Serve(GatewayView gateway, PortHealth? local = null, GatewayView? more = null) => _snapshot = _snapshot! with
    {
        Choices = _snapshot.Choices.SetItem(("web.shop", 80), SiteChoice.Rank(new SiteQuestion("web.shop", 80, "paris")
        {
            Exports = local is null ? ["virginia"] : ["virginia", "paris"],
            Local = local,
            Gateways = more is null ? [gateway] : [gateway, more],
            Before = _snapshot.Choices.GetValueOrDefault(("web.shop", 80)),
            Now = _now,
        })),
    };

    private async Task<IngressPlan> PlanAsync(IPEndPoint client)
    {
        var plan = await _router.PlanAsync(Listener, client, default);
        if (plan.Routes is [{ Peer: { } first }, ..])
        {
            _first[first] = _first.GetValueOrDefault(first) + 1;
        }

        return plan;
    }

    private async Task RefusedAsync(string reason)
    {
        var plan = await PlanAsync(Client);
        Assert.Empty(plan.Routes);
        Assert.Equal(reason, plan.Refusal);
    }
}
