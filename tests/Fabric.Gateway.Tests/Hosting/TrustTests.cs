using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Tests.Dns;
using Fabric.Identity.Authority;
using Fabric.Identity.Trust;
using Fabric.Protocol.Dns;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Whole gateways that follow the trust document: who is evicted, and one root after another.</summary>
public sealed class TrustTests
{
    [Fact]
    public async Task An_evicted_site_is_out_everywhere_and_stays_out_and_nobody_else_notices()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        await PublishAsync(fabric, fabric.Authority.Evict("factory"));

        foreach (var gateway in new[] { Paris, Virginia })
        {
            await fabric.Admin(gateway).UntilAsync(s => IsOut(s, "factory"));
        }

        // It was behind a NAT, and dials: refused, by the code, and again after its restart and after that of the others.
        await RefusesAsync(fabric, Paris);
        await fabric.StopAsync(Factory);
        await fabric.StartAsync(Factory);
        await RefusesAsync(fabric, Paris);
        await fabric.Admin(Factory).UntilAsync(s => s.Sites.SelectMany(x => x.Gateways).All(g => g.State is "self" or "unreachable"));
        Assert.Equal("still", await call.EchoAsync("still"));

        await fabric.StopAsync(Paris);
        await fabric.StartAsync(Paris);
        await fabric.Admin(Paris).UntilAsync(s => IsOut(s, "factory") && s.Services is [{ ChosenSite: "virginia" }]);
        await RefusesAsync(fabric, Paris);

        // Taken back, it is as if nothing had been.
        await PublishAsync(fabric, fabric.Authority.Readmit("factory"));
        await fabric.Admin(Paris).UntilAsync(s => s.Links.Count == 3 && s.Links.All(l => l.Lane == "up")
            && s.Services is [{ Sites: [{ State: "healthy" }, { State: "healthy" }] }]);
    }

    [Fact]
    public async Task A_gateway_that_was_down_learns_of_an_eviction_from_the_first_that_it_meets()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        await fabric.StopAsync(Virginia);
        await PublishAsync(fabric, fabric.Authority.Evict("factory"));
        await fabric.Admin(Paris).UntilAsync(s => IsOut(s, "factory"));

        await fabric.StartAsync(Virginia);

        await fabric.Admin(Virginia).UntilAsync(s => IsOut(s, "factory"));
        await RefusesAsync(fabric, Virginia);
        await fabric.Admin(Paris).UntilAsync(s => s.Trust.Gateways.Any(g => g is { Gateway: "virginia-1", Version: 1 }));
    }

    [Fact]
    public async Task Services_of_evicted_sites_alone_are_no_names_any_more()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var dns = (await fabric.Admin(Paris).StatusAsync()).Services[0].Host;
        Assert.Equal(DnsRcode.NoError, await AskAsync(fabric, dns));
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        await PublishAsync(fabric, fabric.Authority.Evict("virginia"));

        Assert.Null(await call.EchoAsync("off"));
        await fabric.Admin(Paris).UntilAsync(s => IsOut(s, "virginia") && s.Services is [{ ChosenSite: "factory" }]);
        Assert.Equal("factory", await fabric.AnsweredByAsync());

        await PublishAsync(fabric, fabric.Authority.Evict("factory/factory-1"));

        await fabric.Admin(Paris).UntilAsync(s => IsOut(s, "factory") && s.Services.Count == 0 && s.Listeners.All(l => l.Name != "web.shop"));
        Assert.Equal(DnsRcode.NxDomain, await AskAsync(fabric, dns));
    }

    [Fact]
    public async Task A_gateway_that_hears_of_its_own_eviction_says_so_and_is_there_when_it_is_taken_back()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        await PublishAsync(fabric, fabric.Authority.Evict("factory"), Factory);

        static bool Says(Status status) => status.Problems.Any(p => p.StartsWith("this gateway, factory/factory-1, was evicted", StringComparison.Ordinal));
        var status = await fabric.Admin(Factory).UntilAsync(Says);
        Assert.Equal("degraded", status.State);
        await fabric.Admin(Paris).UntilAsync(s => IsOut(s, "factory"));
        await RefusesAsync(fabric, Paris);

        await PublishAsync(fabric, fabric.Authority.Readmit("factory"));

        await fabric.Admin(Factory).UntilAsync(s => !Says(s) && s.Links.All(l => l.Lane == "up"));
    }

    /// <summary>Paris has a service of its own besides, which its client calls without any lane, and which virginia's does through one.</summary>
    [Theory]
    [InlineData("paris")]
    [InlineData("paris/paris-1")]
    public async Task Live_streams_of_clients_here_and_served_here_end_when_this_gateway_is_out_and_come_back_with_it(string evicted)
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var till = new NamedEndpoint("till");
        var port = FreePorts.Take(1)[0];
        fabric.Write(fabric.Topology($$"""
              - { name: till, namespace: shop, ports: [ { port: {{port}} } ], health: { type: none }, exports: [ { site: paris, endpoints: [ "127.0.0.1:{{till.Port}}" ] } ] }

            """).Replace("from: [ site/paris/workload/shop ]", "from: [ \"site/*\" ]", StringComparison.Ordinal)
            .Replace("policies:", "  - { name: shop, site: virginia, addresses: [ 127.0.0.1/32 ] }\npolicies:", StringComparison.Ordinal));
        foreach (var gateway in new[] { Paris, Virginia })
        {
            var revision = (await fabric.Admin(gateway).ReloadAsync()).Revision;
            await fabric.Admin(gateway).UntilAsync(s => s.TopologyRevision == revision
                && s.Services.Any(x => x is { Name: "till.shop", ChosenSite: "paris" }) && s.Listeners.Any(l => l.Name == "till.shop" && l.Open));
        }

        using var outward = await fabric.CallAsync();
        using var local = await TillAsync(fabric, Paris);
        using var inward = await TillAsync(fabric, Virginia);
        Assert.Equal(("virginia", "till", "till"), (await outward.ReadLineAsync(), await local.ReadLineAsync(), await inward.ReadLineAsync()));

        await PublishAsync(fabric, fabric.Authority.Evict(evicted));

        foreach (var call in new[] { outward, local, inward })
        {
            Assert.True(await call.WasResetAsync());
        }

        // Nor is any begun.
        Assert.Null(await fabric.AnsweredByAsync());
        Assert.Null(await TillAnswersAsync(fabric));
        await Wait.UntilAsync(() => fabric.Audit(Paris).Count(l => l["verdict"] == "deny" && l["reason"].StartsWith("this gateway, paris/paris-1, was evicted", StringComparison.Ordinal)) >= 2,
            () => "the review is written");

        await PublishAsync(fabric, fabric.Authority.Readmit(evicted));
        await fabric.Admin(Paris).UntilAsync(s => s.Services.Any(x => x is { Name: "web.shop", ChosenSite: "virginia" }));
        Assert.Equal("virginia", await fabric.AnsweredByAsync());
        Assert.Equal("till", await TillAnswersAsync(fabric));
    }

    private static async Task<Call> TillAsync(LoopbackFabric fabric, string gateway)
    {
        var service = (await fabric.Admin(gateway).StatusAsync()).Services.Single(s => s.Name == "till.shop");
        var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Parse(service.ServiceAddress), (int)service.Ports[0]).WaitAsync(Wait.Limit);
        return new Call(client);
    }

    /// <summary>Null when it is reset.</summary>
    private static async Task<string?> TillAnswersAsync(LoopbackFabric fabric)
    {
        try
        {
            using var call = await TillAsync(fabric, Paris);
            return await call.ReadLineAsync();
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            // So quickly that the connect was not seen to be done.
            return null;
        }
    }

    [Fact]
    public async Task A_document_that_is_not_acceptable_is_refused_with_the_reason()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var old = fabric.Authority.Evict("factory");
        await PublishAsync(fabric, fabric.Authority.Readmit("factory"));

        var replayed = await Assert.ThrowsAsync<GrpcException>(() => PublishAsync(fabric, old));
        Assert.Equal((GrpcStatus.FailedPrecondition, "version 1 of the trust document is not newer than 2, which holds here"), (replayed.Status, replayed.Detail));
        var forged = new SignedTrust(fabric.Authority.Evict("factory").Signed!);
        forged.Signatures[0].Signature = Google.Protobuf.ByteString.CopyFrom(new byte[64]);
        var refused = await Assert.ThrowsAsync<GrpcException>(() => fabric.Admin(Paris).CallAsync(AdminMethods.PublishTrust, forged));
        Assert.Contains("the signature is wrong", refused.Detail);
        Assert.Equal(2u, (await fabric.Admin(Paris).StatusAsync()).Trust.Version);
    }

    [Fact]
    public async Task A_root_takes_the_others_place_and_no_connection_fails()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var live = await fabric.CallAsync();
        Assert.Equal("virginia", await live.ReadLineAsync());
        using var enough = new CancellationTokenSource();
        var calls = Task.Run(() => CallsAsync(fabric, enough.Token));
        var rotation = Rotation.Begin(fabric.Authority, ["paris", "virginia", "factory"]);
        var root = Google.Protobuf.ByteString.CopyFrom(Convert.FromHexString(rotation.New));

        await PublishAsync(fabric, rotation.Take(RotationStep.Introduce));
        await AllAsync(fabric, g => g.Roots.Count == 2 && !g.LeafRoot.Equals(root));
        Assert.Equal("one", await live.EchoAsync("one"));

        await PublishAsync(fabric, rotation.Take(RotationStep.Reissue));
        await AllAsync(fabric, g => g.LeafRoot.Equals(root) && g.OldLanes == 0);
        Assert.Equal("two", await live.EchoAsync("two"));

        await PublishAsync(fabric, rotation.Take(RotationStep.Withdraw));
        await AllAsync(fabric, g => g.Roots.Count == 1 && g.Roots[0].Equals(root));
        Assert.Equal("three", await live.EchoAsync("three"));

        await enough.CancelAsync();
        Assert.NotEqual(0, await calls);

        // No lane had to be closed for it: each was dialled anew before.
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            Assert.Equal(0u, (uint)(await fabric.Admin(gateway).StatusAsync()).Capacity.Certificates.Single(c => c.Kind == "root_withdrawn").Count);
        }
    }

    [Fact]
    public async Task Lanes_under_a_root_that_is_withdrawn_too_soon_are_closed_and_come_back_renewed()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var rotation = Rotation.Begin(fabric.Authority, ["paris", "virginia", "factory"]);
        var root = Google.Protobuf.ByteString.CopyFrom(Convert.FromHexString(rotation.New));

        await PublishAsync(fabric, rotation.Take(RotationStep.Withdraw));

        // The others heard of it before the lanes ended, or hear of it by hand.
        foreach (var gateway in new[] { Virginia, Factory })
        {
            await PublishAsync(fabric, fabric.Authority.Current!, gateway);
        }

        await AllAsync(fabric, g => g.LeafRoot.Equals(root) && g.OldLanes == 0);
        await fabric.Admin(Paris).UntilAsync(s => s.Links.All(l => l.Lane == "up") && s.Services is [{ ChosenSite: "virginia" }]);
        Assert.NotEqual(0u, (uint)(await fabric.Admin(Paris).StatusAsync()).Capacity.Certificates.Single(c => c.Kind == "root_withdrawn").Count);
    }

    private static bool IsOut(Status status, string site) => status.Sites.All(s => s.Name != site) && status.Links.All(l => l.PeerSite != site)
        && status.Services.All(s => s.Sites.All(x => x.Site != site));

    private static async Task RefusesAsync(LoopbackFabric fabric, string gateway)
    {
        ulong Count(Status status) => status.Capacity.Certificates.Single(c => c.Kind == "evicted").Count;
        var before = Count(await fabric.Admin(gateway).StatusAsync());
        await fabric.Admin(gateway).UntilAsync(s => Count(s) > before);
    }

    private static Task PublishAsync(LoopbackFabric fabric, TrustDocument document, string gateway = Paris) =>
        fabric.Admin(gateway).CallAsync(AdminMethods.PublishTrust, document.Signed!);

    /// <summary>Until paris has heard it of all.</summary>
    private static Task<Status> AllAsync(LoopbackFabric fabric, Func<GatewayTrust, bool> holds) =>
        fabric.Admin(Paris).UntilAsync(s => s.Trust.Gateways.Count == 3 && s.Trust.Gateways.All(holds));

    private static async Task<int> CallsAsync(LoopbackFabric fabric, CancellationToken enough)
    {
        var count = 0;
        for (; !enough.IsCancellationRequested; count++)
        {
            Assert.Equal("virginia", await fabric.AnsweredByAsync());
        }

        return count;
    }

    private static async Task<DnsRcode> AskAsync(LoopbackFabric fabric, string name)
    {
        using var udp = new UdpClient();
        await udp.SendAsync(DnsFixtures.Query(name, DnsType.A).Bytes(), fabric.Dns);
        return DnsFixtures.Read((await udp.ReceiveAsync().WaitAsync(Wait.Limit)).Buffer).Rcode;
    }
}
