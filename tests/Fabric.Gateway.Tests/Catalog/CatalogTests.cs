using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Egress;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Tests.Catalog;

/// <summary>What a publisher says is what a peer understands.</summary>
public sealed class CatalogTests : IAsyncLifetime
{
    private readonly ManualTime _time = new();
    private readonly EndpointHealth _health;
    private readonly Dictionary<string, int> _loads = new() { ["paris-1"] = 3, ["factory-1"] = 9 };
    private readonly CatalogPublisher _publisher;
    private readonly CancellationTokenSource _stop = new();
    private readonly IAsyncEnumerator<CatalogUpdate> _watch;

    public CatalogTests()
    {
        _health = new EndpointHealth(_time, () => { });
        _publisher = new CatalogPublisher(_health, _time) { LoadWithout = watcher => _loads[watcher] };
        _watch = _publisher.WatchAsync("paris-1", _stop.Token).GetAsyncEnumerator();
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _watch.DisposeAsync();
        await _health.DisposeAsync();
        _stop.Dispose();
    }

    [Fact]
    public async Task First_message_is_the_whole_and_then_come_changes()
    {
        await RefreshAsync(Exporting("web", "api"));
        var first = await NextAsync();
        Assert.Equal((1UL, true, 2), (first.Sequence, first.Full, first.Services.Count));
        Assert.Equal((80u, 1u, 1u), first.Services[0].Ports[0] is var p ? (p.Port, p.Endpoints, p.Healthy) : default);

        var topology = Exporting("api", "new");
        await RefreshAsync(topology);
        var second = await NextAsync();
        Assert.Equal((2UL, false, topology.Revision), (second.Sequence, second.Full, second.TopologyRevision));
        Assert.Equal(["new.shop"], second.Services.Select(s => s.Service));
        Assert.Equal(["web.shop"], second.Removed);
    }

    [Fact]
    public async Task Silence_is_filled_with_a_heartbeat_each_second()
    {
        await RefreshAsync(Exporting("web"));
        await NextAsync();
        for (ulong sequence = 2; sequence < 5; sequence++)
        {
            var next = _watch.MoveNextAsync().AsTask();
            Assert.True(_time.HasTimerIn(CatalogPublisher.Heartbeat));
            _time.Advance(CatalogPublisher.Heartbeat - TimeSpan.FromTicks(1));
            Assert.False(next.IsCompleted);
            _time.Advance(TimeSpan.FromTicks(1));
            Assert.True(await next.WaitAsync(Wait.Limit));
            Assert.Equal((sequence, 0, false), (_watch.Current.Sequence, _watch.Current.Services.Count, _watch.Current.Full));
        }
    }

    [Fact]
    public async Task What_did_not_change_wakes_nobody_and_draining_does()
    {
        var topology = Exporting("web");
        await RefreshAsync(topology);
        await NextAsync();
        var next = _watch.MoveNextAsync().AsTask();

        await RefreshAsync(topology);
        Assert.False(next.IsCompleted);

        _publisher.Refresh(topology, "virginia", draining: true);
        Assert.True(await next.WaitAsync(Wait.Limit));
        Assert.True(_watch.Current.Draining);
        Assert.Empty(_watch.Current.Services);
    }

    [Fact]
    public async Task Every_message_says_how_many_streams_others_have()
    {
        await RefreshAsync(Exporting("web"));
        Assert.Equal(3u, (await NextAsync()).Load);
        Assert.Equal(3, PeerCatalog.Apply(null, _watch.Current, 0).Load);

        _loads["paris-1"] = 4;
        var next = _watch.MoveNextAsync().AsTask();
        await Wait.UntilAsync(() => _time.HasTimerIn(CatalogPublisher.Heartbeat), () => "the heartbeat is set");
        _time.Advance(CatalogPublisher.Heartbeat);
        Assert.True(await next.WaitAsync(Wait.Limit));
        Assert.Equal((4u, 0), (_watch.Current.Load, _watch.Current.Services.Count));
    }

    [Fact]
    public async Task Endpoint_that_fails_is_told()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var endpoint = (IPEndPoint)listener.LocalEndpoint;
        var topology = Exporting(endpoint.Port, "type: tcp", "web");
        await RefreshAsync(topology);
        Assert.Equal(1u, (await NextAsync()).Services[0].Ports[0].Healthy);

        _health.DialFailed("web.shop", endpoint, "refused");
        _publisher.Refresh(topology, "virginia", draining: false);

        Assert.Equal(0u, Assert.Single((await NextAsync()).Services).Ports[0].Healthy);
    }

    [Fact]
    public async Task Only_the_own_site_is_spoken_for()
    {
        var topology = Exporting("web");
        _publisher.Refresh(topology, "paris", draining: false);

        Assert.Empty((await NextAsync()).Services);
        Assert.Equal(topology.Revision, _watch.Current.TopologyRevision);
    }

    [Fact]
    public async Task Cancelled_watch_ends()
    {
        await NextAsync();
        var next = _watch.MoveNextAsync().AsTask();
        await _stop.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next.WaitAsync(Wait.Limit));
    }

    [Fact]
    public void Peer_catalog_follows_the_updates()
    {
        var one = PeerCatalog.Apply(null, Update(1, full: true, ["a.x", "b.x"]), now: 10);
        var two = PeerCatalog.Apply(one, Update(2, full: false, ["b.x", "c.x"], "a.x"), now: 20);
        var heartbeat = PeerCatalog.Apply(two, Update(3, full: false, []), now: 30);

        Assert.Equal(["a.x", "b.x"], one.Services.Keys.Order());
        Assert.Equal(["b.x", "c.x"], two.Services.Keys.Order());
        Assert.Equal((30L, 3UL, two.Services), (heartbeat.Heard, heartbeat.Sequence, heartbeat.Services));
        Assert.Equal(["z.x"], PeerCatalog.Apply(heartbeat, Update(9, full: true, ["z.x"]), now: 40).Services.Keys);
    }

    [Fact]
    public void Gap_or_a_beginning_without_the_whole_is_refused()
    {
        var one = PeerCatalog.Apply(null, Update(1, full: true, []), now: 0);

        Assert.Contains("3 does not follow 1",
            Assert.Throws<InvalidDataException>(() => PeerCatalog.Apply(one, Update(3, full: false, []), 0)).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => PeerCatalog.Apply(one, Update(1, full: false, []), 0));
        Assert.Throws<InvalidDataException>(() => PeerCatalog.Apply(null, Update(1, full: false, []), 0));
    }

    [Fact]
    public void More_services_than_the_limit_are_refused_also_bit_by_bit()
    {
        string[] most = [.. Enumerable.Range(0, PeerCatalog.MaxServices).Select(i => $"s{i}.x")];
        var full = PeerCatalog.Apply(null, Update(1, full: true, most), 0);
        Assert.Equal(PeerCatalog.MaxServices, full.Services.Count);

        Assert.Throws<InvalidDataException>(() => PeerCatalog.Apply(full, Update(2, full: false, ["one-more.x"]), 0));
        Assert.Throws<InvalidDataException>(() => PeerCatalog.Apply(null, Update(1, full: true, [.. most, "one-more.x"]), 0));
        Assert.Equal(PeerCatalog.MaxServices, PeerCatalog.Apply(full, Update(2, full: false, ["one-more.x"], "s0.x"), 0).Services.Count);
    }

    private static CatalogUpdate Update(ulong sequence, bool full, string[] services, params string[] removed) => new()
    {
        Sequence = sequence,
        Full = full,
        Services = { services.Select(s => new ExportedService { Service = s }) },
        Removed = { removed },
    };

    private static FabricTopology Exporting(params string[] services) => Exporting(8080, "type: none", services);

    private static FabricTopology Exporting(int port, string health, params string[] services) => Samples.Accept($$"""
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, gateways: [ { name: paris-1 } ] }
          - { name: virginia, gateways: [ { name: virginia-1 } ] }
        services:

        """ + string.Concat(services.Select(s => $$"""
          - name: {{s}}
            namespace: shop
            ports: [ { port: 80 } ]
            health: { {{health}} }
            exports: [ { site: virginia, endpoints: [ "127.0.0.1:{{port}}" ] } ]

        """)));

    /// <summary>As the state loop does, once all endpoints are known.</summary>
    private async Task RefreshAsync(FabricTopology topology)
    {
        _health.Reconcile(topology, "virginia");
        await Wait.UntilAsync(() => topology.Services.All(s => _health.Of(s.FullName, 80).All(e => e.Healthy)), () => "all are healthy");
        _publisher.Refresh(topology, "virginia", draining: false);
    }

    private async Task<CatalogUpdate> NextAsync()
    {
        Assert.True(await _watch.MoveNextAsync().AsTask().WaitAsync(Wait.Limit));
        return _watch.Current;
    }
}
