using Fabric.Gateway.Control;
using Fabric.Gateway.Hosting;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Three gateways, put together as the daemon does, over real sockets.</summary>
public sealed class GatewayProcessTests
{
    private const string OneMore = """
          - name: api
            namespace: shop
            ports: [ { port: 9 } ]
            health: { type: none }
            exports: [ { site: factory, endpoints: [ "127.0.0.1:9" ] } ]

        """;

    [Fact]
    public async Task Call_to_a_service_address_reaches_the_other_site_and_is_audited_there()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using (var call = await fabric.CallAsync())
        {
            Assert.Equal("virginia", await call.ReadLineAsync());
            Assert.Equal("hello", await call.EchoAsync("hello"));
        }

        await Wait.UntilAsync(() => fabric.Audit(Virginia).Count > 0, () => "the audit entry was written");
        var entry = Assert.Single(fabric.Audit(Virginia));
        Assert.Equal(("allow", Samples.Shop, "paris-1", "shop-may"), (entry["verdict"], entry["caller"], entry["assertedBy"], entry["rule"]));
        Assert.Equal("6", entry["bytesToEndpoint"]);
    }

    [Fact]
    public async Task Caller_that_no_policy_allows_is_refused_and_audited_where_the_service_is()
    {
        await using var fabric = await LoopbackFabric.StartAsync();

        Assert.Null(await fabric.AnsweredByAsync(from: "127.0.0.9"));

        await Wait.UntilAsync(() => fabric.Audit(Virginia).Count > 0, () => "the audit entry was written");
        Assert.Equal(("deny", "spiffe://acme.example/site/paris/unidentified"),
            fabric.Audit(Virginia)[0] is var entry ? (entry["verdict"], entry["caller"]) : default);
        Assert.Equal("virginia", await fabric.AnsweredByAsync());
    }

    [Fact]
    public async Task Endpoint_that_stops_is_replaced_by_the_other_site()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        fabric.InVirginia.Dispose();

        // The first call finds it out at the latest, and is served all the same.
        Assert.Equal("factory", await fabric.AnsweredByAsync());
        var service = (await fabric.Admin(Paris).UntilAsync(s => s.Services[0].ChosenSite == "factory")).Services[0];
        Assert.Equal("down", service.Sites.Single(s => s.Site == "virginia").State);
    }

    [Fact]
    public async Task Accepted_topology_leaves_streams_alone()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        fabric.Write(fabric.Topology(OneMore));
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            Assert.True((await fabric.Admin(gateway).ReloadAsync()).Changed);
        }

        var revision = fabric[Paris].Revision;
        await fabric.Admin(Paris).UntilAsync(s => s.TopologyRevision == revision && s.Services.Any(v => v is { Name: "api.shop", ChosenSite: "factory" }));
        Assert.Equal("still here", await call.EchoAsync("still here"));
        Assert.False((await fabric.Admin(Paris).ReloadAsync()).Changed);
    }

    /// <summary>Whoever has asked goes by the new one from then on.</summary>
    [Fact]
    public async Task Reload_is_answered_when_the_topology_is_in_force_and_says_when_it_is_not()
    {
        await using var fabric = LoopbackFabric.Joined();
        using var goes = new ManualResetEventSlim(true);
        var turns = 0;
        await using var gateway = await GatewayProcess.StartAsync(fabric.Options(Paris) with
        {
            Turned = () =>
            {
                Interlocked.Increment(ref turns);
                goes.Wait();
            },
        }, TimeProvider.System, NullLoggerFactory.Instance, default);
        using var admin = new AdminClient(fabric.Options(Paris).Socket);
        async Task HoldAsync()
        {
            goes.Reset();
            var before = Volatile.Read(ref turns);
            await Wait.UntilAsync(() => Volatile.Read(ref turns) > before, () => "the state loop stands still");
        }

        try
        {
            await HoldAsync();
            fabric.Write(fabric.Topology(OneMore));
            var reloading = admin.ReloadAsync();
            await Task.WhenAny(reloading, Task.Delay(300));
            Assert.False(reloading.IsCompleted);
            goes.Set();
            Assert.Equal((await reloading).Revision, (await admin.StatusAsync()).TopologyRevision);

            await HoldAsync();
            fabric.Write(fabric.Topology());
            var late = await Assert.ThrowsAsync<GrpcException>(admin.ReloadAsync);
            Assert.Equal(GrpcStatus.Unavailable, late.Status);
            Assert.Contains("was accepted and is not in force yet", late.Detail, StringComparison.Ordinal);
        }
        finally
        {
            goes.Set();
        }
    }

    [Fact]
    public async Task Live_connection_that_a_new_policy_denies_is_reset_and_audited_and_others_go_on()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        // Denied for a caller that is not there, and in shadow for the one that is.
        fabric.Write(Denying(fabric.Topology(), "site/paris/workload/other").Replace("policies:\n",
            "policies:\n  - { name: try-it, action: deny, mode: shadow, from: [ site/paris/workload/shop ], to: [ web.shop ] }\n", StringComparison.Ordinal));
        await fabric.Admin(Virginia).ReloadAsync();
        await Wait.UntilAsync(() => fabric.Audit(Virginia).Any(e => e.GetValueOrDefault("shadow") == "try-it"), () => "the shadow policy is told of");
        Assert.Equal("still here", await call.EchoAsync("still here"));

        fabric.Write(Denying(fabric.Topology(), "site/paris/workload/shop"));
        await fabric.Admin(Virginia).ReloadAsync();
        Assert.True(await call.WasResetAsync());
        await Wait.UntilAsync(() => fabric.Audit(Virginia).Count(e => e["reason"].StartsWith("policy no-shops denies", StringComparison.Ordinal)) == 2,
            () => "the denial and the end of the session are in the audit log");
        var lines = fabric.Audit(Virginia)[^2..];
        Assert.Equal([("deny", "no-shops", null), ("allow", "shop-may", "11")],
            lines.Select(e => (e["verdict"], e.GetValueOrDefault("rule"), e.GetValueOrDefault("bytesToEndpoint"))));

        static string Denying(string topology, string caller) => topology.Replace("policies:\n",
            $"policies:\n  - {{ name: no-shops, action: deny, from: [ {caller} ], to: [ web.shop ] }}\n", StringComparison.Ordinal);
    }

    [Fact]
    public async Task Status_says_what_a_reload_cannot_change()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        fabric.Write(fabric.Topology().Replace("holdDown: 1s", "holdDown: 2s", StringComparison.Ordinal));
        Assert.True((await fabric.Admin(Paris).ReloadAsync()).Changed);
        await fabric.Admin(Paris).UntilAsync(s => s.Problems.Any(p => p.Contains("changed probes", StringComparison.Ordinal)));

        fabric.Write(fabric.Topology());
        await fabric.Admin(Paris).ReloadAsync();
        await fabric.Admin(Paris).UntilAsync(s => !s.Problems.Any(p => p.Contains("changed probes", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Refused_topology_leaves_the_running_one_and_status_says_so_until_it_is_good_again()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var (revision, good) = (fabric[Paris].Revision, fabric.Topology());
        fabric.Write(good.Replace("type: interconnect", "type: magic", StringComparison.Ordinal));

        var failure = await Assert.ThrowsAsync<GrpcException>(fabric.Admin(Paris).ReloadAsync);
        Assert.Equal(GrpcStatus.InvalidArgument, failure.Status);
        Assert.Equal(2, failure.Detail.Split('\n').Count(l => l.Contains("magic", StringComparison.Ordinal)));
        var status = await fabric.Admin(Paris).UntilAsync(s => s.TopologyError.Length > 0);
        Assert.Equal((revision, failure.Detail, "degraded"), (status.TopologyRevision, status.TopologyError, status.State));
        Assert.Equal("virginia", await fabric.AnsweredByAsync());

        // Looked at again, unasked: told once.
        Assert.Equal((revision, false), fabric[Paris].Reload(force: false));
        fabric.Write(good);
        Assert.Equal((revision, false), fabric[Paris].Reload(force: false));
        await fabric.Admin(Paris).UntilAsync(s => s.TopologyError.Length == 0);
    }

    [Fact]
    public async Task Topology_that_was_away_for_a_while_is_no_error_afterwards()
    {
        await using var fabric = LoopbackFabric.Joined();
        await fabric.StartAsync(Paris);
        File.Move(fabric.TopologyPath, fabric.TopologyPath + ".away");
        fabric[Paris].Reload(force: false);
        await fabric.Admin(Paris).UntilAsync(s => s.TopologyError.Contains("no topology at", StringComparison.Ordinal));
        Assert.Throws<TopologyRefusedException>(() => fabric[Paris].Reload(force: true));

        File.Move(fabric.TopologyPath + ".away", fabric.TopologyPath);
        fabric[Paris].Reload(force: false);

        await fabric.Admin(Paris).UntilAsync(s => s.TopologyError.Length == 0);
    }

    [Fact]
    public async Task Gateway_starts_from_the_last_good_topology_and_says_so()
    {
        await using var fabric = LoopbackFabric.Joined();
        await (await fabric.LaunchAsync(Paris)).DisposeAsync();
        fabric.Write("fabric: 1\nsites: {}\n");

        await fabric.StartAsync(Paris);

        var status = await fabric.Admin(Paris).UntilAsync(s => s.TopologyError.Length > 0);
        Assert.Equal(3, status.Sites.Count);
        Assert.Contains("topology.yaml:", status.Problems[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Topology_whose_first_turn_fails_is_applied_by_the_next()
    {
        await using var fabric = LoopbackFabric.Joined();
        await fabric.StartAsync(Paris);
        Directory.CreateDirectory(fabric.State(Paris, "service-addresses.json.next"));

        fabric.Write(fabric.Topology(OneMore));
        var revision = (await fabric.Admin(Paris).ReloadAsync()).Revision;

        await fabric.Admin(Paris).UntilAsync(s => s.TopologyRevision == revision && s.Services.Count == 2);
    }

    [Fact]
    public async Task Stream_goes_on_over_the_other_link_when_its_own_is_cut()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());
        await fabric.Admin(Paris).UntilAsync(s => ActiveLink(s) == "dx");

        Assert.Equal(1u, (await fabric.Admin(Paris).SetFaultAsync("dx", "cut")).Links);
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal($"line {i}", await call.EchoAsync($"line {i}"));
        }

        var status = await fabric.Admin(Paris).UntilAsync(s => ActiveLink(s) == "internet" && s.Links.Any(l => l is { Name: "dx", State: "down", Fault: "cut" }));
        Assert.Contains(status.Problems, p => p.StartsWith("link dx to virginia-1 is down", StringComparison.Ordinal));
        Assert.True(status.Sites.Single(s => s.Name == "virginia").Gateways[0].Moves > 0);

        await fabric.Admin(Paris).SetFaultAsync("dx", "");
        await fabric.Admin(Paris).UntilAsync(s => s.Links.All(l => l is { State: "up", Lane: "up" }));
        Assert.Equal("end", await call.EchoAsync("end"));
    }

    [Fact]
    public async Task New_connection_waits_while_no_link_is_left_and_is_served_when_one_is_back()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        await fabric.Admin(Paris).SetFaultAsync("dx", "cut");
        await fabric.Admin(Paris).SetFaultAsync("internet", "cut");
        await fabric.Admin(Paris).UntilAsync(s => s.Services.Single().ChosenSite.Length == 0);

        using var call = await fabric.CallAsync();
        await fabric.Admin(Paris).UntilAsync(s => s.Problems.Contains("1 new connection waits for a site that serves them"));

        await fabric.Admin(Paris).SetFaultAsync("internet", "");
        Assert.Contains(await call.ReadLineAsync(), (string?[])["virginia", "factory"]);
        await fabric.Admin(Paris).UntilAsync(s => s.Problems.All(p => !p.Contains("for a site that serves", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Draining_gateway_serves_its_streams_and_new_ones_go_elsewhere()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        Assert.True((await fabric.Admin(Virginia).DrainAsync(0.5)).Remaining >= 1);

        await fabric.Admin(Virginia).UntilAsync(s => s.State == "draining");
        await fabric.Admin(Paris).UntilAsync(s => s.Services[0].ChosenSite == "factory");
        Assert.Equal("factory", await fabric.AnsweredByAsync());
        Assert.Equal("still here", await call.EchoAsync("still here"));
    }

    [Fact]
    public async Task Drain_is_over_when_the_last_stream_has_ended()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());
        var draining = fabric.Admin(Virginia).DrainAsync(15);
        await fabric.Admin(Virginia).UntilAsync(s => s.State == "draining");
        Assert.False(draining.IsCompleted);

        call.Dispose();

        Assert.Equal(0u, (await draining).Remaining);
    }

    [Fact]
    public async Task Second_daemon_on_the_same_state_is_refused()
    {
        await using var fabric = LoopbackFabric.Joined();
        await fabric.StartAsync(Paris);

        var refusal = await Assert.ThrowsAsync<IOException>(() => fabric.LaunchAsync(Paris));

        Assert.Contains("another fabricd uses", refusal.Message, StringComparison.Ordinal);
        Assert.Equal("paris-1", (await fabric.Admin(Paris).StatusAsync()).Gateway);
    }

    [Fact]
    public async Task Start_that_fails_leaves_the_state_to_the_next()
    {
        await using var fabric = LoopbackFabric.Joined();
        File.Delete(fabric.TopologyPath);
        await Assert.ThrowsAsync<IOException>(() => fabric.LaunchAsync(Paris));
        fabric.Write(fabric.Topology());

        await fabric.StartAsync(Paris);
    }

    [Fact]
    public async Task Check_says_everything_that_keeps_the_daemon_from_starting()
    {
        await using var fabric = LoopbackFabric.Joined();
        var (code, output, error) = Check(fabric.Options(Paris));
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("identity: spiffe://acme.example/site/paris/gateway/paris-1, certificate until", output, StringComparison.Ordinal);
        Assert.Contains("3 sites, 4 links, 1 services, 1 policies", output, StringComparison.Ordinal);

        fabric.Write(fabric.Topology().Replace("type: interconnect", "type: magic", StringComparison.Ordinal));
        (code, _, error) = Check(fabric.Options(Paris));
        Assert.Equal((1, 2), (code, error.Split('\n').Count(l => l.Contains("magic", StringComparison.Ordinal))));

        (code, output, error) = Check(fabric.Options(Paris) with { State = fabric.State("nobody") });
        Assert.Equal((1, ""), (code, output));
        Assert.Contains("hint: fabric join makes it", error, StringComparison.Ordinal);
        Assert.Contains("magic", error, StringComparison.Ordinal);

        File.Delete(fabric.TopologyPath);
        (code, _, error) = Check(fabric.Options(Paris));
        Assert.Equal(1, code);
        Assert.Contains("no topology at", error, StringComparison.Ordinal);
    }

    private static string ActiveLink(Status status) => status.Sites.Single(s => s.Name == "virginia").Gateways[0].ActiveLink;

    private static (int Code, string Output, string Error) Check(DaemonOptions options)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = DaemonCheck.Run(options, TimeProvider.System, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
