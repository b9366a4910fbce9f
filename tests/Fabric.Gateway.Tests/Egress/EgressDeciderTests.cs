using System.Net;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
using Fabric.Testing;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Egress;

public sealed class EgressDeciderTests : IAsyncLifetime
{
    private const string Unchecked = "    health: { type: none }\n    exports:";

    private readonly TemporaryFolder _folder = new();
    private readonly ManualTime _time = new();
    private readonly AuditLog _audit;
    private readonly EndpointHealth _health;
    private readonly EgressDecider _egress;
    private FabricSnapshot? _snapshot;

    public EgressDeciderTests()
    {
        _audit = new AuditLog(_folder["audit.log"]);
        _health = new EndpointHealth(_time, () => { });
        _egress = new EgressDecider(() => _snapshot, _health, _audit.Add,
            name => name == "fabric.control" ? (_, peer) => Task.FromException(new InvalidOperationException(peer)) : null,
            _time, NullLogger.Instance);
    }

    private static StreamOpen Open { get; } = new("web.shop", 80, Samples.Shop);

    public async Task InitializeAsync()
    {
        Use(Samples.TwoSites.Replace("    exports:", Unchecked, StringComparison.Ordinal));
        await Wait.UntilAsync(() => _health.Of("web.shop", 80).Count(e => e.Healthy) == 2, () => "both endpoints are healthy");
    }

    public async Task DisposeAsync()
    {
        await _health.DisposeAsync();
        await _audit.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public async Task Allowed_caller_is_dialled_to_all_healthy_endpoints_in_turn()
    {
        var first = await DialAsync();
        var second = await DialAsync();

        Assert.Equal(2, first.Length);
        Assert.Equal([first[1], first[0]], second);
        Assert.Equal(first, await DialAsync());
        Assert.Equal((3, 0), (_egress.Accepted, _egress.Refused));
    }

    [Fact]
    public async Task Host_that_is_asked_for_is_dialled_alone_and_no_other_in_its_place()
    {
        Use(Samples.TwoSites.Replace("    exports:", "    headless: true\n" + Unchecked, StringComparison.Ordinal)
            .Replace("address: \"127.0.0.2:8080\"", "host: web-1, address: \"127.0.0.2:8080\"", StringComparison.Ordinal));
        await Wait.UntilAsync(() => _health.Of("web.shop", 80).Count(e => e.Healthy && e.Endpoint.Host is not null) == 2, () => "both endpoints are healthy");

        async Task<string> Dialled(string? host) => string.Join(' ', Assert.IsType<EgressVerdict.Dial>(
            await _egress.DecideAsync("paris-1", Open with { Host = host }, default)).Endpoints.Select(e => $"{e}").Order());
        Assert.Equal("127.0.0.1:8080 127.0.0.2:8080", await Dialled(null));
        Assert.Equal("127.0.0.2:8080", await Dialled("web-1"));
        Assert.Equal("127.0.0.1:8080", await Dialled("127-0-0-1"));
        foreach (var host in new[] { "web-9", "WEB-1", "", "web-1\n" })
        {
            await RefusedAsync("paris-1", Open with { Host = host }, StreamCode.NoService, "virginia does not export ");
        }

        _egress.DialFailed(Open with { Datagrams = true }, new IPEndPoint(IPAddress.Parse("127.0.0.2"), 8080), "nobody is there");
        await RefusedAsync("paris-1", Open with { Host = "web-1" }, StreamCode.NoEndpoint, "nobody is there");
        Assert.Equal("127.0.0.1:8080", await Dialled(null));
        await RefusedAsync("paris-1", Open with { Host = "web-1", Caller = "spiffe://acme.example/site/paris/workload/other" }, StreamCode.PolicyDenied, "no policy allows");
        Assert.Contains(await AuditAsync(), e => (e["service"], e.GetValueOrDefault("host"), e["verdict"]) == ("web.shop:80", "web-1", "deny"));
    }

    [Fact]
    public async Task Turns_of_one_service_are_not_taken_by_another()
    {
        Use(Samples.TwoSites.Replace("    exports:", Unchecked, StringComparison.Ordinal).Replace("services:\n", """
            services:
              - name: api
                namespace: shop
                ports: [ { port: 80 } ]
                health: { type: none }
                exports: [ { site: virginia, endpoints: [ "127.0.0.1:9" ] } ]

            """, StringComparison.Ordinal));
        await Wait.UntilAsync(() => _health.Of("api.shop", 80).Any(e => e.Healthy), () => "the other service is healthy");

        var first = await DialAsync();
        await DialAsync("api.shop");

        Assert.Equal([first[1], first[0]], await DialAsync());
    }

    [Theory]
    [InlineData("virginia-1", "is no gateway that paris-1 could be relayed to")]
    [InlineData("paris-1", "is no gateway that paris-1 could be relayed to")]
    [InlineData("nowhere-1", "is no gateway that paris-1 could be relayed to")]
    public async Task Lane_is_carried_to_another_gateway_of_the_topology_only(string target, string reason)
    {
        var refusal = Assert.IsType<EgressVerdict.Refuse>(await _egress.DecideAsync("paris-1", Ask(target), default));
        Assert.Equal((StreamCode.NoService, $"{target} {reason}"), (refusal.Code, refusal.Reason));
    }

    [Fact]
    public async Task Lane_is_carried_where_the_site_relays_and_is_audited()
    {
        Use(Samples.TwoSites.Replace("links:", "  - { name: oslo, gateways: [ { name: oslo-1 } ] }\nlinks:", StringComparison.Ordinal));
        Assert.Equal(new EgressVerdict.Relay("oslo-1"), await _egress.DecideAsync("paris-1", Ask("oslo-1"), default));
        _egress.Ended("paris-1", Ask("oslo-1"), new StreamSummary("", "paris-1", null, StreamCode.Ok, "", 11, 12, TimeSpan.FromSeconds(1)));

        Use(Samples.TwoSites.Replace("links:", "  - { name: oslo, gateways: [ { name: oslo-1 } ] }\nlinks:", StringComparison.Ordinal)
            .Replace("name: virginia\n", "name: virginia\n    relay: false\n", StringComparison.Ordinal));
        var refusal = Assert.IsType<EgressVerdict.Refuse>(await _egress.DecideAsync("paris-1", Ask("oslo-1"), default));
        Assert.Equal((StreamCode.PolicyDenied, "site virginia does not relay"), (refusal.Code, refusal.Reason));

        await _audit.DisposeAsync();
        var entries = AuditLines.Read(_folder["audit.log"]);
        Assert.Equal(["allow", "deny"], entries.Select(e => e["verdict"]));
        Assert.All(entries, e => Assert.Equal(("fabric.relay/oslo-1", "paris-1"), (e["service"], e["assertedBy"])));
        Assert.Equal("11", entries[0]["bytesToEndpoint"]);
    }

    [Theory]
    [InlineData("fabric.relay/")]
    [InlineData("fabric.relay/Oslo 1")]
    public async Task Relay_to_what_is_no_name_is_not_served(string service) =>
        Assert.Equal(StreamCode.NoService, Assert.IsType<EgressVerdict.Refuse>(
            await _egress.DecideAsync("paris-1", new StreamOpen(service, 0, ""), default)).Code);

    private static StreamOpen Ask(string target) => new(RelayNames.Ask(target), 0, "spiffe://acme.example/site/paris/gateway/paris-1");

    [Fact]
    public async Task Caller_that_no_policy_allows_is_refused_and_audited()
    {
        await RefusedAsync("virginia-1", Open with { Caller = "spiffe://acme.example/site/virginia/unidentified" },
            StreamCode.PolicyDenied, "no policy allows spiffe://acme.example/site/virginia/unidentified to call web.shop:80");

        var entry = Assert.Single(await AuditAsync());
        Assert.Equal(("deny", "virginia-1", "web.shop:80"), (entry["verdict"], entry["assertedBy"], entry["service"]));
        Assert.DoesNotContain("rule", entry.Keys);
        Assert.Contains("no policy allows", entry["reason"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Deny_wins_and_is_named()
    {
        await RefusedAsync("paris-1", Open with { Port = 81 }, StreamCode.PolicyDenied, "policy not-admin denies");

        Assert.Equal("not-admin", Assert.Single(await AuditAsync())["rule"]);
    }

    [Fact]
    public async Task Peer_vouches_for_its_own_site_only()
    {
        await RefusedAsync("virginia-1", Open, StreamCode.PolicyDenied, "a gateway of site virginia may not vouch for");
        await RefusedAsync(null, Open, StreamCode.PolicyDenied, "a gateway of site virginia may not vouch for");
    }

    [Fact]
    public async Task Gateway_that_the_topology_does_not_have_is_refused() =>
        await RefusedAsync("oslo-1", Open, StreamCode.PolicyDenied, "gateway oslo-1 is not in the topology");

    [Fact]
    public async Task Service_or_port_that_is_not_exported_is_none()
    {
        await RefusedAsync("paris-1", Open with { Service = "api.shop" }, StreamCode.NoService, "virginia does not export api.shop:80");
        await RefusedAsync("paris-1", Open with { Port = 82 }, StreamCode.NoService, "virginia does not export web.shop:82");
    }

    [Fact]
    public async Task A_port_gets_only_what_it_carries_and_a_flow_learns_when_it_is_over()
    {
        await RefusedAsync("paris-1", Open with { Datagrams = true }, StreamCode.NoService, "web.shop:80 carries no datagrams");
        Use(Samples.TwoSites.Replace("    exports:", "    flowIdle: 5s\n" + Unchecked, StringComparison.Ordinal)
            .Replace("port: 80 },", "port: 80, protocol: udp },", StringComparison.Ordinal));
        await RefusedAsync("paris-1", Open, StreamCode.NoService, "web.shop:80 carries no connections");
        var dial = Assert.IsType<EgressVerdict.Dial>(await _egress.DecideAsync("paris-1", Open with { Datagrams = true }, default));
        Assert.Equal((2, TimeSpan.FromSeconds(5)), (dial.Endpoints.Length, dial.FlowIdle));
    }

    [Fact]
    public async Task Without_a_healthy_endpoint_the_reason_names_each()
    {
        Use(Samples.TwoSites);
        await Wait.UntilAsync(() => _health.Of("web.shop", 80).All(e => e.Reason != "not checked yet"), () => "both were checked");

        var refusal = await RefusedAsync("paris-1", Open, StreamCode.NoEndpoint, "127.0.0.1:8080 ");
        Assert.Contains("127.0.0.2:8080 ", refusal.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reserved_names_are_for_peers_and_without_a_port()
    {
        var control = new StreamOpen("fabric.control", 0, Samples.Shop);
        var handle = Assert.IsType<EgressVerdict.Handle>(await _egress.DecideAsync("paris-1", control, default));
        Assert.Equal("paris-1", (await Assert.ThrowsAsync<InvalidOperationException>(() => handle.Handler(Stream.Null))).Message);

        await RefusedAsync(null, control, StreamCode.NoService, "fabric.control is not served here");
        await RefusedAsync("paris-1", control with { Service = "fabric.other" }, StreamCode.NoService, "fabric.other is not served here");
        Assert.Equal([("self", "fabric.control"), ("paris-1", "fabric.other")], (await AuditAsync()).Select(e => (e["assertedBy"], e["service"])));
    }

    [Fact]
    public async Task Service_that_is_called_fabric_is_a_service()
    {
        Use(Samples.TwoSites.Replace("    exports:", Unchecked, StringComparison.Ordinal)
            .Replace("name: web", "name: fabric", StringComparison.Ordinal).Replace("web.shop", "fabric.shop", StringComparison.Ordinal));
        await Wait.UntilAsync(() => _health.Of("fabric.shop", 80).Any(e => e.Healthy), () => "an endpoint is healthy");

        Assert.NotEmpty(await DialAsync("fabric.shop"));
    }

    [Fact]
    public async Task Before_the_first_snapshot_everything_is_refused()
    {
        _snapshot = null;

        await RefusedAsync("paris-1", Open, StreamCode.Draining, "the gateway is starting");
    }

    [Fact]
    public async Task Stream_that_ended_is_audited_with_what_it_did()
    {
        var open = Open with { TraceParent = "00-trace" };
        Assert.IsType<EgressVerdict.Dial>(await _egress.DecideAsync("paris-1", open, default));
        _egress.Ended("paris-1", open, new StreamSummary("web.shop", "paris-1",
            new IPEndPoint(IPAddress.Loopback, 8080), StreamCode.Ok, "", 11, 22, TimeSpan.FromMilliseconds(33.33)));

        var entry = Assert.Single(await AuditAsync());
        Assert.Equal(
            ("allow", "shop-may", "127.0.0.1:8080", "11", "22", "33.3", "00-trace", "Ok", Samples.Shop),
            (entry["verdict"], entry["rule"], entry["endpoint"], entry["bytesToEndpoint"], entry["bytesToClient"], entry["durationMs"],
                entry["trace"], entry["reason"], entry["caller"]));
    }

    /// <summary>Whatever the policies of the day are that it ends on: it was one of before that let it through, and that is what is written.</summary>
    [Fact]
    public async Task A_stream_is_audited_with_the_rule_that_decided_it_at_its_beginning_or_at_the_last_review()
    {
        string Topology(string policy) => Samples.TwoSites.Replace("    exports:", Unchecked, StringComparison.Ordinal).Replace("name: shop-may", policy, StringComparison.Ordinal);
        var (first, second, third) = (Open with { Mirrored = true }, Open with { Mirrored = true }, Open with { Mirrored = true });
        foreach (var open in new[] { first, second, third })
        {
            Assert.IsType<EgressVerdict.Dial>(await _egress.DecideAsync("paris-1", open, default));
        }

        Use(Topology("name: shop-may-still"));
        Assert.Null(_egress.Review("paris-1", second));
        Use(Topology("name: shop-may-not, action: deny, from: [ \"site/*\" ], to: [ \"*.shop\" ] }\n  - { name: of-later"));
        var refusal = _egress.Review("paris-1", third)!;
        foreach (var (open, code, reason) in new[] { (first, StreamCode.Ok, ""), (second, StreamCode.Ok, ""), (third, refusal.Code, refusal.Reason) })
        {
            _egress.Ended("paris-1", open, new StreamSummary("web.shop", "paris-1", new IPEndPoint(IPAddress.Loopback, 8080), code, reason, 1, 1, TimeSpan.Zero));
        }

        Assert.Equal(
            [("deny", "shop-may-not"), ("allow", "shop-may"), ("allow", "shop-may-still"), ("allow", "shop-may")],
            (await AuditAsync()).Select(e => (e["verdict"], e["rule"])));
    }

    [Fact]
    public async Task The_evicted_serves_nobody_and_is_told_so()
    {
        var evicted = "";
        var egress = new EgressDecider(() => _snapshot, _health, _audit.Add, _ => (_, _) => Task.CompletedTask, _time, NullLogger.Instance) { Evicted = () => evicted };
        var open = Open with { Mirrored = true };
        Assert.IsType<EgressVerdict.Dial>(await egress.DecideAsync("paris-1", open, default));

        evicted = "it was evicted";

        Assert.Equal((StreamCode.PolicyDenied, evicted), egress.Review("paris-1", open) is { } review ? (review.Code, review.Reason) : default);
        foreach (var one in new[] { Open, new StreamOpen(RelayNames.Ask("paris-1"), 0, "") })
        {
            Assert.Equal((StreamCode.PolicyDenied, evicted), await egress.DecideAsync("oslo-1", one, default) is EgressVerdict.Refuse no ? (no.Code, no.Reason) : default);
        }

        // It has to hear when it is taken back.
        Assert.IsType<EgressVerdict.Handle>(await egress.DecideAsync("paris-1", new StreamOpen("fabric.control", 0, ""), default));
        Assert.All(await AuditAsync(), e => Assert.Equal(("deny", evicted), (e["verdict"], e["reason"])));
    }

    [Fact]
    public async Task A_live_stream_is_reviewed_by_the_snapshot_of_now_and_what_is_denied_is_audited()
    {
        Assert.Null(_egress.Review("paris-1", Open));
        Assert.Null(_egress.Review("paris-1", new StreamOpen("fabric.control", 0, Samples.Shop)));

        Use(Samples.TwoSites.Replace("action: allow", "action: deny", StringComparison.Ordinal));
        var refusal = _egress.Review("paris-1", Open);
        Assert.Equal((StreamCode.PolicyDenied, $"policy shop-may denies {Samples.Shop} to call web.shop:80"), (refusal!.Code, refusal.Reason));
        Assert.Equal("gateway oslo-1 is not in the topology", _egress.Review("oslo-1", Open)!.Reason);
        _egress.Ended("paris-1", Open, new StreamSummary("web.shop", "paris-1", new IPEndPoint(IPAddress.Loopback, 8080),
            StreamCode.PolicyDenied, refusal.Reason, 11, 22, TimeSpan.FromSeconds(1)));
        // One that was refused at its beginning.
        _egress.Ended("paris-1", Open, new StreamSummary("web.shop", "paris-1", null, StreamCode.PolicyDenied, refusal.Reason, 0, 0, TimeSpan.Zero));
        Assert.Equal(0, _egress.Refused);

        var entries = await AuditAsync();
        Assert.Equal(
            [("deny", "shop-may", null), ("deny", null, null), ("allow", null, "11")],
            entries.Select(e => (e["verdict"], e.GetValueOrDefault("rule"), e.GetValueOrDefault("bytesToEndpoint"))));
        Assert.Equal([refusal.Reason, "gateway oslo-1 is not in the topology", refusal.Reason], entries.Select(e => e["reason"]));
    }

    [Fact]
    public async Task A_shadow_policy_changes_no_verdict_and_what_it_would_have_changed_is_told_and_counted()
    {
        Use(Samples.TwoSites.Replace("    exports:", Unchecked, StringComparison.Ordinal).Replace("policies:\n", """
            policies:
              - { name: no-shops, action: deny, mode: shadow, from: [ "site/paris/*" ], to: [ web.shop ], ports: [ 80 ] }
              - { name: all-may, action: allow, mode: shadow, from: [ "site/*" ], to: [ web.shop ], ports: [ 81 ] }

            """, StringComparison.Ordinal));
        var stranger = Open with { Caller = "spiffe://acme.example/site/virginia/workload/x", Port = 81 };

        for (var i = 0; i < 5; i++)
        {
            Assert.IsType<EgressVerdict.Dial>(await _egress.DecideAsync("paris-1", Open, default));
            await RefusedAsync(null, stranger, StreamCode.PolicyDenied, "no policy allows");
        }

        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Null(_egress.Review("paris-1", Open));
        Assert.Equal([("all-may", 5L), ("no-shops", 6L)], _egress.Shadow.Counts);
        var entries = await AuditAsync();
        Assert.Equal(
            [("shop-may", "no-shops", "shadow policy no-shops would deny it"), ("shop-may", "no-shops", "shadow policy no-shops would deny it")],
            entries.Where(e => e["verdict"] == "allow").Select(e => (e["rule"], e["shadow"], e["reason"])));
        Assert.Equal(Enumerable.Repeat("all-may", 5), entries.Where(e => e["verdict"] == "deny").Select(e => e["shadow"]));
    }

    private void Use(string text)
    {
        _snapshot = Samples.Snapshot(text, "virginia-1");
        _health.Reconcile(_snapshot.Topology, "virginia");
    }

    private async Task<IPEndPoint[]> DialAsync(string service = "web.shop") =>
        [.. Assert.IsType<EgressVerdict.Dial>(await _egress.DecideAsync("paris-1", Open with { Service = service }, default)).Endpoints];

    private async Task<EgressVerdict.Refuse> RefusedAsync(string? peer, StreamOpen open, StreamCode code, string reason)
    {
        var refusal = Assert.IsType<EgressVerdict.Refuse>(await _egress.DecideAsync(peer, open, default));
        Assert.Equal(code, refusal.Code);
        Assert.Contains(reason, refusal.Reason, StringComparison.Ordinal);
        return refusal;
    }

    /// <summary>All that was written; the log is closed for it.</summary>
    private async Task<List<Dictionary<string, string>>> AuditAsync()
    {
        await _audit.DisposeAsync();
        return AuditLines.Read(_folder["audit.log"]);
    }
}
