using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Tests.Telemetry;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// A peer with a good certificate of its own site, over real lanes, that lies: whatever it says of things that are not its own is refused, and the log and
/// the status say why.
/// </summary>
public sealed class HostilePeerTests : IAsyncLifetime
{
    private const string Own = "spiffe://acme.example/site/factory/workload/press";
    private const string DbPort = "5432";

    private readonly LoopbackFabric _fabric = LoopbackFabric.Joined();
    private readonly CapturedLog _paris = new();
    private readonly CapturedLog _virginia = new();

    public async Task InitializeAsync()
    {
        // Virginia alone exports it.
        _fabric.Write(_fabric.Topology($$"""
              - name: db
                namespace: shop
                ports: [ { port: {{DbPort}} } ]
                health: { type: none }
                exports: [ { site: virginia, endpoints: [ "127.0.0.1:{{_fabric.InVirginia.Port}}" ] } ]

            """));
        await Task.WhenAll(_fabric.StartAsync(LoopbackFabric.Paris, _paris), _fabric.StartAsync(LoopbackFabric.Virginia, _virginia));
    }

    public async Task DisposeAsync() => await _fabric.DisposeAsync();

    [Fact]
    public async Task Callers_of_other_sites_and_streams_to_nowhere_are_refused()
    {
        await using var hostile = await StartAsync(LoopbackFabric.Virginia);
        (StreamOpen Open, StreamCode Code, string Says)[] lies =
        [
            (Web("spiffe://acme.example/site/paris/workload/shop"), StreamCode.PolicyDenied,
                "a gateway of site factory may not vouch for spiffe://acme.example/site/paris/workload/shop"),
            (Web("spiffe://acme.example/site/virginia/gateway/virginia-1"), StreamCode.PolicyDenied, "a gateway of site factory may not vouch for"),
            (Web("spiffe://acme.example/site/factory-2/workload/press"), StreamCode.PolicyDenied, "a gateway of site factory may not vouch for"),
            (Web("spiffe://acme.example/workload/shop"), StreamCode.PolicyDenied, "a gateway of site factory may not vouch for"),
            (Web("spiffe://other.example/site/factory/workload/press"), StreamCode.PolicyDenied, "is of trust domain other.example"),
            (Web("spiffe://acme.example/site/factory/../paris/workload/shop"), StreamCode.PolicyDenied, "is not a SPIFFE ID"),
            (Web("shop\n{\"verdict\":\"allow\"}"), StreamCode.PolicyDenied, "is not a SPIFFE ID"),
            (Web(""), StreamCode.PolicyDenied, "is not a SPIFFE ID"),
            // Its own caller, whom no policy allows; then what it would have this gateway dial.
            (Web(Own), StreamCode.PolicyDenied, $"no policy allows {Own}"),
            (new StreamOpen("127.0.0.1", 22, Own), StreamCode.PolicyDenied, "no policy allows"),
            (new StreamOpen("169.254.169.254:80", 80, Own), StreamCode.PolicyDenied, "no policy allows"),
            (new StreamOpen("localhost", 22, Own), StreamCode.PolicyDenied, "is not the name of a service"),
            (new StreamOpen("web.shop", 22, "spiffe://acme.example/site/factory/workload/press"), StreamCode.PolicyDenied, "no policy allows"),
            (new StreamOpen("fabric.relay/paris-1", 0, Own), StreamCode.PolicyDenied, "site virginia does not relay"),
            (new StreamOpen("fabric.relay/127.0.0.1", 0, Own), StreamCode.NoService, "fabric.relay/127.0.0.1 is not served here"),
            (new StreamOpen("fabric.admin", 0, Own), StreamCode.NoService, "fabric.admin is not served here"),
        ];
        foreach (var (open, code, says) in lies)
        {
            var refused = await hostile.RefusedAsync(LoopbackFabric.Virginia, open);
            Assert.Contains(says, refused.Reason, StringComparison.Ordinal);
            Assert.Equal(code, refused.Code);
        }

        var status = await _fabric.Admin(LoopbackFabric.Virginia).UntilAsync(s => s.Claims.Count > 0);
        var claim = Assert.Single(status.Claims);
        Assert.Equal(("factory-1", "caller", 9UL), (claim.Peer, claim.Claim, claim.Count));
        Assert.Contains(status.Problems, p => p.StartsWith("gateway factory-1 was not believed (caller, 9 times): ", StringComparison.Ordinal));
        Assert.Contains(_virginia.Lines, l => l.Contains("factory-1 was not believed", StringComparison.Ordinal)
            && l.Contains("may not vouch for spiffe://acme.example/site/paris/workload/shop", StringComparison.Ordinal));
        Assert.DoesNotContain(_virginia.Lines, l => l.Contains('\n') && l.Contains("verdict", StringComparison.Ordinal));
        Assert.Equal(0UL, status.StreamsTotal);

        await Wait.UntilAsync(() => Denials().Count == lies.Length, () => $"the audit log has a line for each: {Denials().Count}");
        Assert.All(Denials(), l => Assert.Equal(("factory-1", "gateway"), (l["assertedBy"], l["established"])));
        Assert.Contains(Denials(), l => l["caller"] == "shop\n{\"verdict\":\"allow\"}");
    }

    [Fact]
    public async Task Catalog_that_names_what_is_anothers_changes_nothing_and_is_told()
    {
        var lies = Catalog((await _fabric.Admin(LoopbackFabric.Paris).StatusAsync()).TopologyRevision,
            Exports("db.shop", int.Parse(DbPort)), Exports("bank.pay", 443), Exports("web.shop", _fabric.ServicePort));
        lies.Neighbours = new Neighbours { Gateways = { new Neighbour { Gateway = "virginia-1" }, new Neighbour { Gateway = "mars-1" } } };
        await using var hostile = await StartAsync(LoopbackFabric.Paris, lies);

        var status = await _fabric.Admin(LoopbackFabric.Paris).UntilAsync(s => s.Claims.Count > 0);
        var claim = Assert.Single(status.Claims);
        Assert.Equal(("factory-1", "catalog"), (claim.Peer, claim.Claim));
        const string Says = "the topology does not let site factory export bank.pay, db.shop; the topology gives it no link with mars-1";
        Assert.Equal(Says, claim.Last);
        Assert.Contains($"the catalog of factory-1 is not believed: {Says}", status.Problems);
        await LoggedAsync(_paris, Says);

        // Connections to it go where the topology says, and nowhere else.
        status = await _fabric.Admin(LoopbackFabric.Paris).UntilAsync(s => s.Services.Single(x => x.Name == "db.shop").ChosenSite == "virginia");
        Assert.Equal(["virginia"], status.Services.Single(s => s.Name == "db.shop").Sites.Select(s => s.Site));
        Assert.DoesNotContain(status.Services, s => s.Name == "bank.pay");
    }

    /// <summary>What a rotation waits for: that virginia trusts the new root. Factory, which hands on what virginia says, says so for it.</summary>
    [Fact]
    public async Task Reports_that_another_gateway_has_not_signed_or_has_taken_back_are_refused()
    {
        await _fabric.Admin(LoopbackFabric.Paris).UntilAsync(s => s.Trust.Gateways.Any(g => g.Gateway == LoopbackFabric.Virginia));
        GatewayIdentity Identity(string gateway) => GatewayIdentity.Load(new GatewayKeyStore(_fabric.State(gateway, "identity")), TimeProvider.System);
        var (virginia, factory) = (Identity(LoopbackFabric.Virginia), Identity(LoopbackFabric.Factory));
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        GatewayTrust Says(string site, long reported) => new()
        {
            Site = site,
            Gateway = $"{site}-1",
            Version = 99,
            Reported = reported,
            Roots = { Google.Protobuf.ByteString.CopyFrom(new byte[32]) },
            LeafRoot = Google.Protobuf.ByteString.CopyFrom(new byte[32]),
            LeafExpires = now + 3600,
        };
        var forged = virginia.Sign(Says("virginia", now - 3600), virginia.State);
        forged.Statement = Google.Protobuf.ByteString.CopyFrom(Google.Protobuf.MessageExtensions.ToByteArray(Says("virginia", now + 60)));
        var ownKey = factory.Sign(Says("virginia", now + 60), factory.State);
        var replayed = virginia.Sign(Says("virginia", now - 3600), virginia.State);
        var own = factory.Sign(Says("factory", now), factory.State);
        await using var hostile = await StartAsync(LoopbackFabric.Paris, new CatalogUpdate { Reports = { forged, ownKey, replayed, own } });

        // The last of them is good: so the others were looked at.
        var status = await _fabric.Admin(LoopbackFabric.Paris).UntilAsync(s => s.Trust.Gateways.Any(g => g is { Gateway: "factory-1", Version: 99 }));
        Assert.Equal(0u, status.Trust.Gateways.Single(g => g.Gateway == LoopbackFabric.Virginia).Version);
        var claim = Assert.Single(status.Claims, c => c.Claim == "report");
        Assert.Equal(("factory-1", 2UL), (claim.Peer, claim.Count));
        Assert.Equal("a report that factory-1 hands on is not believed: the report of virginia/virginia-1 was signed by factory/factory-1: each gateway speaks for itself alone", claim.Last);
        Assert.Contains(_paris.Lines, l => l.Contains("the report of virginia/virginia-1 has a wrong signature", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Catalog_out_of_bounds_is_not_taken_at_all()
    {
        var lie = Exports("web.shop", _fabric.ServicePort);
        lie.Ports[0].Healthy = uint.MaxValue;
        await using var hostile = await StartAsync(LoopbackFabric.Paris, Catalog("x", lie));

        var status = await _fabric.Admin(LoopbackFabric.Paris).UntilAsync(s => s.Claims.Count > 0);
        Assert.Contains("4294967295 of 9 endpoints healthy", Assert.Single(status.Claims).Last, StringComparison.Ordinal);
        await LoggedAsync(_paris, "factory-1 was not believed (Catalog)");
        Assert.Equal(-1, status.Sites.Single(s => s.Name == "factory").Gateways[0].CatalogAgeSeconds);
        Assert.Contains(status.Services.Single(s => s.Name == "web.shop").Sites, s => s is { Site: "factory", State: "unknown" });
    }

    [Fact]
    public async Task Catalog_is_watched_under_ones_own_name()
    {
        await using var hostile = await StartAsync(LoopbackFabric.Virginia);
        await hostile.RefusedAsync(LoopbackFabric.Virginia, Web(Own));
        async Task WatchAsync(string name)
        {
            await foreach (var update in hostile.ControlOf(LoopbackFabric.Virginia).ServerStreamingAsync(CatalogMethods.Watch, new CatalogWatchRequest { Gateway = name }))
            {
                Assert.True(update.Full);
                return;
            }
        }

        var refused = await Assert.ThrowsAsync<GrpcException>(() => WatchAsync("paris-1"));
        Assert.Equal((GrpcStatus.PermissionDenied, "a catalog is watched under one's own name, which is factory-1"), (refused.Status, refused.Detail));
        await WatchAsync("factory-1");
        var status = await _fabric.Admin(LoopbackFabric.Virginia).StatusAsync();
        Assert.Contains(status.Claims, c => c is { Peer: "factory-1", Claim: "name", Count: 1 });
        await LoggedAsync(_virginia, "factory-1 asked for the catalog under another gateway's name");
    }

    [Fact]
    public async Task Name_of_another_sites_gateway_in_a_certificate_of_ones_own_site_is_refused()
    {
        // The authority of factory signs for its own site: a gateway of it that is called paris-1.
        var ca = MeshCa.Open(_fabric.CaFolder, TimeProvider.System);
        JoinClient.JoinLocally(ca.CreateToken("factory", "paris-1"), ca, new GatewayKeyStore(_fabric.State("impostor")), TimeProvider.System);
        await using var hostile = await HostileGateway.StartAsync(_fabric, _fabric.State("impostor"), null, LoopbackFabric.Virginia);

        var status = await _fabric.Admin(LoopbackFabric.Virginia).UntilAsync(s => s.Capacity.Certificates.Any(c => c is { Kind: "wrong_gateway", Count: > 0 }));
        Assert.DoesNotContain(hostile.Tunnel.Status.Sessions, s => s.Lanes.Any(l => l.State == LaneState.Up));
        await Wait.UntilAsync(() => _virginia.Lines.Any(l => l.Contains(
            "the certificate is that of spiffe://acme.example/site/factory/gateway/paris-1: gateway paris-1 is of site paris [wrong_gateway]", StringComparison.Ordinal)),
            () => "the log says so");
    }

    [Fact]
    public async Task Flood_of_denials_stays_bounded_and_adds_no_series()
    {
        await using var hostile = await StartAsync(LoopbackFabric.Virginia);
        await hostile.RefusedAsync(LoopbackFabric.Virginia, Web("spiffe://acme.example/site/paris/workload/shop"));
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        async Task<HashSet<string>> SeriesAsync() =>
            [.. PrometheusText.Parse(await http.GetStringAsync($"http://{_fabric.MetricsOf(LoopbackFabric.Virginia)}/metrics")).Samples.Keys];
        var before = await SeriesAsync();

        const int Opens = 12_000;
        for (var sent = 0; sent < Opens; sent += 500)
        {
            await Task.WhenAll(Enumerable.Range(sent, 500).Select(async i =>
            {
                var refused = await Assert.ThrowsAsync<StreamRefusedException>(
                    () => hostile.Tunnel.OpenAsync(LoopbackFabric.Virginia, new StreamOpen($"s{i}.shop", 80, $"spiffe://acme.example/site/factory/workload/w{i}"), default));
                Assert.Equal(StreamCode.PolicyDenied, refused.Code);
            }));

            // Below what a lane may open in a second.
            await Task.Delay(60);
        }

        // Of names that were made up there is one word, however many they are.
        var added = (await SeriesAsync()).Except(before).ToList();
        Assert.Contains(added, s => s.Contains("service=(unknown)", StringComparison.Ordinal));
        Assert.DoesNotContain(added, s => System.Text.RegularExpressions.Regex.IsMatch(s, @"s\d+\.shop|/w\d+"));
        Assert.InRange(added.Count, 0, 200);
        var status = await _fabric.Admin(LoopbackFabric.Virginia).UntilAsync(s => s.Audit.Written + s.Audit.Dropped >= Opens);
        Assert.True(status.Audit.Dropped > 0, $"nothing was left out of {Opens}");
        Assert.InRange(Denials().Count, 1_000, Opens - 1);
        Assert.InRange(_virginia.Lines.Count(l => l.Contains("Refused ", StringComparison.Ordinal)), 1, 1_000);
        Assert.Contains(_virginia.Lines, l => l.Contains(" more that were not logged)", StringComparison.Ordinal));
    }

    /// <summary>What is refused is counted first, and then logged.</summary>
    private static Task LoggedAsync(CapturedLog log, string words) =>
        Wait.UntilAsync(() => log.Lines.Any(l => l.Contains(words, StringComparison.Ordinal)), () => $"the log says: {words}");

    private List<Dictionary<string, string>> Denials() => [.. _fabric.Audit(LoopbackFabric.Virginia).Where(l => l["verdict"] == "deny")];

    private Task<HostileGateway> StartAsync(string dials, CatalogUpdate? says = null) =>
        HostileGateway.StartAsync(_fabric, _fabric.State(LoopbackFabric.Factory, "identity"), says, dials);

    private StreamOpen Web(string caller) => new("web.shop", _fabric.ServicePort, caller);

    private static CatalogUpdate Catalog(string revision, params ExportedService[] services) => new() { TopologyRevision = revision, Services = { services } };

    private static ExportedService Exports(string service, int port) =>
        new() { Service = service, Ports = { new ExportedPort { Port = (uint)port, Endpoints = 9, Healthy = 9 } } };
}
