using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Egress;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Topology.Model;
using Google.Protobuf;
using Neighbour = Fabric.Routing.Paths.Neighbour;

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
    public async Task Hosts_of_a_headless_service_are_told_with_their_ports_and_which_of_those_are_healthy()
    {
        var topology = Samples.Accept("""
            fabric: 1
            trustDomain: acme.example
            sites: [ { name: virginia, gateways: [ { name: virginia-1 } ] } ]
            services:
              - name: db
                namespace: shop
                headless: true
                ports: [ { name: pg, port: 80 }, { name: admin, port: 81 } ]
                health: { type: none }
                exports:
                  - site: virginia
                    endpoints:
                      - { host: db-1, address: "127.0.0.1:1", port: 80 }
                      - { host: db-0, address: "127.0.0.1:2", port: 80 }
                      - { host: db-0, address: "127.0.0.1:3", port: 81 }

            """);
        await RefreshAsync(topology);
        await Wait.UntilAsync(() => _health.Of("db.shop", 81).All(e => e.Healthy), () => "all are healthy");
        _health.DialFailed("db.shop", new IPEndPoint(IPAddress.Loopback, 3), "nobody is there", datagrams: true);
        _publisher.Refresh(topology, "virginia", draining: false);

        var told = Assert.Single((await NextAsync()).Services);
        Assert.Equal(["db-0: 80 81, healthy 80", "db-1: 80, healthy 80"],
            told.Hosts.Select(h => $"{h.Host}: {string.Join(' ', h.Ports)}, healthy {string.Join(' ', h.Healthy)}"));
        Assert.Equal(["80: 2 of 2", "81: 0 of 1"], told.Ports.Select(p => $"{p.Port}: {p.Healthy} of {p.Endpoints}"));
    }

    [Fact]
    public async Task Neighbour_that_comes_or_goes_is_told_at_once_and_its_figures_with_the_heartbeat()
    {
        var topology = Exporting("web");
        void Refresh(params Neighbour[] neighbours) => _publisher.Refresh(topology, "virginia", draining: false, neighbours);
        Refresh(new Neighbour("paris-1", TimeSpan.FromMilliseconds(10), 12.5));
        var told = Assert.Single((await NextAsync()).Neighbours.Gateways);
        Assert.Equal(("paris-1", 10_000u, 12_500u), (told.Gateway, told.RttUs, told.ScoreUs));

        var next = _watch.MoveNextAsync().AsTask();
        Refresh(new Neighbour("paris-1", TimeSpan.FromMilliseconds(20), 22.5));
        Assert.False(next.IsCompleted);
        _time.Advance(CatalogPublisher.Heartbeat);
        Assert.True(await next.WaitAsync(Wait.Limit));
        Assert.Equal(20_000u, Assert.Single(_watch.Current.Neighbours.Gateways).RttUs);

        next = _watch.MoveNextAsync().AsTask();
        Refresh(new Neighbour("paris-1", TimeSpan.FromMilliseconds(20.1), 22.4));
        Assert.False(next.IsCompleted);
        _time.Advance(CatalogPublisher.Heartbeat);
        Assert.True(await next.WaitAsync(Wait.Limit));
        Assert.Null(_watch.Current.Neighbours);

        next = _watch.MoveNextAsync().AsTask();
        Refresh();
        Assert.True(await next.WaitAsync(Wait.Limit));
        Assert.Empty(_watch.Current.Neighbours!.Gateways);
    }

    [Fact]
    public void Peer_catalog_keeps_neighbours_until_others_are_told()
    {
        var first = Update(1, full: true, []);
        first.Neighbours = new Neighbours { Gateways = { new Fabric.Protocol.Proto.Neighbour { Gateway = "paris-1", RttUs = 10_500 } } };
        var one = PeerCatalog.Apply(null, first, 0);
        Assert.Equal(new Neighbour("paris-1", TimeSpan.FromMilliseconds(10.5), null), Assert.Single(one.Neighbours).Value);
        Assert.Same(one.Neighbours, PeerCatalog.Apply(one, Update(2, full: false, []), 0).Neighbours);
        Assert.Empty(PeerCatalog.Apply(one, Update(9, full: true, []), 0).Neighbours);
        var none = Update(2, full: false, []);
        none.Neighbours = new Neighbours();
        Assert.Empty(PeerCatalog.Apply(one, none, 0).Neighbours);

        none.Neighbours.Gateways.Add(Enumerable.Range(0, PeerCatalog.MaxNeighbours + 1).Select(i => new Fabric.Protocol.Proto.Neighbour { Gateway = $"g{i}" }));
        Assert.Throws<InvalidDataException>(() => PeerCatalog.Apply(one, none, 0));
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
    public void What_no_catalog_can_say_is_refused()
    {
        void Refused(string because, Action<ExportedService> change)
        {
            var service = new ExportedService { Service = "a.x", Ports = { new ExportedPort { Port = 80, Endpoints = 2, Healthy = 2 } } };
            change(service);
            var update = Update(1, full: true, []);
            update.Services.Add(service);
            Assert.Contains(because, Assert.Throws<InvalidDataException>(() => PeerCatalog.Apply(null, update, 0)).Message, StringComparison.Ordinal);
        }

        Refused("3 of 2 endpoints healthy on port 80", s => s.Ports[0].Healthy = 3);
        Refused("on port 65536", s => s.Ports[0].Port = 65_536);
        Refused("2 of 4000000000 endpoints", s => s.Ports[0].Endpoints = 4_000_000_000);
        Refused("201 hosts", s => s.Hosts.Add(Enumerable.Range(0, 201).Select(i => new ExportedHost { Host = $"h{i}" })));
        foreach (var name in new[] { "", "a.b", "-a", "a-", "Db", "a b", new string('a', 64) })
        {
            Refused("no label", s => s.Hosts.Add(new ExportedHost { Host = name }));
        }

        Refused("is there twice", s => s.Hosts.Add([new ExportedHost { Host = "db-0" }, new ExportedHost { Host = "db-0" }]));
        Refused("db-0 with ports", s => s.Hosts.Add(new ExportedHost { Host = "db-0", Ports = { 80 }, Healthy = { 81 } }));
        Refused("db-0 with ports", s => s.Hosts.Add(new ExportedHost { Host = "db-0", Ports = { 65_536 } }));
        Refused("db-0 with ports", s => s.Hosts.Add(new ExportedHost { Host = "db-0", Ports = { Enumerable.Range(1, 101).Select(p => (uint)p) } }));
        Refused("254 characters", s => s.Service = new string('a', 254));
        Refused("none of them a space or a control", s => s.Service = "a.x\n{}");
        Refused("none of them a space or a control", s => s.Service = "\u001b[2Ja.x");

        // However it is spread over updates, it is never more than so many bytes.
        PeerCatalog? catalog = null;
        var error = Record.Exception(() =>
        {
            for (var i = 0; i < 1_000; i++)
            {
                var update = Update((ulong)i + 1, full: i == 0, []);
                update.Services.Add(new ExportedService { Service = $"s{i}.x", Ports = { Enumerable.Range(1, 3_000).Select(p => new ExportedPort { Port = (uint)p }) } });
                catalog = PeerCatalog.Apply(catalog, update, 0);
            }
        });
        Assert.Contains($"at most {PeerCatalog.MaxServices} services of {PeerCatalog.MaxBytes} bytes", Assert.IsType<InvalidDataException>(error).Message, StringComparison.Ordinal);
        Assert.InRange(catalog!.Services.Values.Sum(s => s.CalculateSize()), 1 << 20, PeerCatalog.MaxBytes);

        // The same service again takes the place of the first, also in the sum.
        for (var i = 0; i < 1_000; i++)
        {
            var update = Update(catalog.Sequence + 1, full: false, []);
            update.Services.Add(catalog.Services["s0.x"]);
            catalog = PeerCatalog.Apply(catalog, update, 0);
        }
    }

    [Fact]
    public void Fuzz_any_update_is_taken_or_refused_as_invalid()
    {
        var random = new Random(7);
        var seed = Update(1, full: true, ["a.x", "b.x"], "c.x");
        seed.Services[0].Hosts.Add(new ExportedHost { Host = "db-0", Ports = { 80, 81 }, Healthy = { 80 } });
        seed.Neighbours = new Protocol.Proto.Neighbours { Gateways = { new Protocol.Proto.Neighbour { Gateway = "oslo-1", RttUs = 3 } } };
        var bytes = seed.ToByteArray();
        PeerCatalog? catalog = null;
        var taken = 0;
        for (var i = 0; i < 20_000; i++)
        {
            var spoilt = bytes.ToArray();
            for (var changes = random.Next(4); changes >= 0; changes--)
            {
                spoilt[random.Next(spoilt.Length)] = (byte)random.Next(256);
            }

            try
            {
                catalog = PeerCatalog.Apply(catalog, CatalogUpdate.Parser.ParseFrom(spoilt), i);
                taken++;
            }
            catch (Exception e) when (e is InvalidDataException or InvalidProtocolBufferException)
            {
                // Refused.
            }
        }

        Assert.InRange(taken, 100, 19_900);
        Assert.All(catalog!.Services.Keys, name => Assert.DoesNotContain(name, char.IsControl));
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
