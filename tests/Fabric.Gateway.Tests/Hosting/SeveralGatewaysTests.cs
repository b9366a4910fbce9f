using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Two gateways in one site: new connections are shared, and each can go without the other.</summary>
public sealed class SeveralGatewaysTests
{
    [Fact]
    public async Task New_connections_are_spread_over_the_gateways_of_a_site()
    {
        await using var fabric = await LoopbackFabric.StartAsync(two: true);
        using var calls = await CallsAsync(fabric, 12);

        var (first, second) = Streams(await fabric.Admin(Paris).UntilAsync(s => Streams(s) is var (a, b) && a + b == 12));

        Assert.Equal((6u, 6u), (first, second));
    }

    [Fact]
    public async Task Streams_of_a_gateway_that_stops_are_reset_and_new_ones_go_on_through_the_other()
    {
        await using var fabric = await LoopbackFabric.StartAsync(two: true);
        using var calls = await CallsAsync(fabric, 6);
        await fabric.Admin(Paris).UntilAsync(s => Streams(s) is (3, 3));

        await fabric.StopAsync(Virginia);

        for (var i = 0; i < 6; i++)
        {
            Assert.Equal("virginia", await fabric.AnsweredByAsync());
        }

        await fabric.Admin(Paris).UntilAsync(s => Streams(s) is (0, 3));
        var ends = calls.List.Select(c => c.EchoAsync("still here")).ToArray();
        Assert.Equal(3, (await Task.WhenAll(ends)).Count(e => e == "still here"));
    }

    [Fact]
    public async Task Killed_gateway_takes_its_streams_with_it_and_new_ones_go_on_through_the_other()
    {
        await using var fabric = await LoopbackFabric.StartAsync(two: true, killable: Virginia);
        using var calls = await CallsAsync(fabric, 6);
        await fabric.Admin(Paris).UntilAsync(s => Streams(s) is (3, 3));

        fabric.Kill();

        using var more = await CallsAsync(fabric, 6);
        await fabric.Admin(Paris).UntilAsync(s => Streams(s) is (0, 9));
        Assert.Equal(3, (await Task.WhenAll(calls.List.Select(c => c.EchoAsync("still here")))).Count(e => e == "still here"));
    }

    [Fact]
    public async Task Killed_importer_takes_its_streams_with_it_where_they_ended()
    {
        await using var fabric = await LoopbackFabric.StartAsync(killable: Paris);
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        fabric.Kill();

        await Wait.UntilAsync(() => fabric.Audit(Virginia).Count > 0, () => "the audit entry was written");
        Assert.StartsWith("the gateway is gone: its port is closed over", fabric.Audit(Virginia)[0]["reason"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Drained_gateway_is_passed_over_until_it_is_undrained()
    {
        await using var fabric = await LoopbackFabric.StartAsync(two: true);
        using var calls = await CallsAsync(fabric, 4);
        await fabric.Admin(Virginia).UntilAsync(s => s.Streams == 2);

        var reply = await fabric.Admin(Virginia).DrainAsync(new DrainRequest { Gateway = Virginia });

        Assert.Equal(2u, reply.Remaining);
        var left = Assert.Single(reply.Streams);
        Assert.Equal(("web.shop", Paris, "in", 2u, 0u), (left.Service, left.Peer, left.Direction, left.Streams, reply.Cut));
        Assert.Contains(left.Link, new[] { "dx", "internet" });
        using (var more = await CallsAsync(fabric, 4))
        {
            await fabric.Admin(Paris).UntilAsync(s => Streams(s) is (2, 6));
        }

        var elsewhere = await Assert.ThrowsAsync<GrpcException>(() => fabric.Admin(Virginia).DrainAsync(new DrainRequest { Gateway = Virginia2 }));
        Assert.Equal(GrpcStatus.NotFound, elsewhere.Status);

        await fabric.Admin(Virginia).DrainAsync(new DrainRequest { Undo = true });
        await fabric.Admin(Virginia).UntilAsync(s => s.State != "draining");
        // The connections that ended count as load until ingress was told.
        await fabric.Admin(Paris).UntilAsync(s => s.Services[0].ChosenReason.Contains(Virginia, StringComparison.Ordinal)
            && Streams(s) is (2, 2) && s.StreamsTotal == 4);
        using var again = await CallsAsync(fabric, 4);
        // It takes new ones again: how many depends on when the other one's catalog said that its load had gone.
        await fabric.Admin(Paris).UntilAsync(s => Streams(s) is var (a, b) && a > 2 && a + b == 8);
        Assert.All(await Task.WhenAll(calls.List.Select(c => c.EchoAsync("whole"))), e => Assert.Equal("whole", e));
    }

    [Fact]
    public async Task Force_resets_what_is_left_and_says_how_much()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        var reply = await fabric.Admin(Virginia).DrainAsync(new DrainRequest { Force = true });

        Assert.Equal((1u, 1u), (reply.Remaining, reply.Cut));
        Assert.True(await call.WasResetAsync());
        Assert.Equal(0u, (await fabric.Admin(Virginia).DrainAsync(10)).Remaining);
    }

    [Fact]
    public async Task Draining_importer_closes_its_service_addresses_and_opens_them_again()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        var reply = await fabric.Admin(Paris).DrainAsync(0);
        Assert.Equal(("out", Virginia), Assert.Single(reply.Streams) is var left ? (left.Direction, left.Peer) : default);
        Assert.Null(await RefusedAsync(fabric));
        Assert.Equal("goes on", await call.EchoAsync("goes on"));

        await fabric.Admin(Paris).DrainAsync(new DrainRequest { Undo = true });
        Assert.Equal("virginia", await fabric.AnsweredByAsync());
    }

    [Fact]
    public async Task Drained_link_is_left_by_both_ends_without_a_break_and_returned_to()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());
        await fabric.Admin(Paris).UntilAsync(s => ActiveLink(s) == "dx");

        // Virginia drains; paris, which sends as well, follows.
        var reply = await fabric.Admin(Virginia).DrainAsync(new DrainRequest { Link = "dx", LimitSeconds = 20 });
        Assert.Equal((0u, ""), (reply.Remaining, reply.Reason));
        var status = await fabric.Admin(Paris).UntilAsync(s => ActiveLink(s) == "internet" && Link(s, "dx") is { Role: "drained" });
        Assert.Equal("by virginia-1", Link(status, "dx").Drained);
        Assert.Equal(0UL, status.Sites.Single(s => s.Name == "virginia").Gateways[0].BytesResent);
        Assert.Equal("on internet", await call.EchoAsync("on internet"));

        // With nothing else left it is used all the same, and the drain of the other says why its streams stay.
        reply = await fabric.Admin(Virginia).DrainAsync(new DrainRequest { Link = "internet", Peer = Paris, LimitSeconds = 0.2 });
        Assert.Equal(1u, reply.Remaining);
        Assert.Contains("no other link is left", reply.Reason, StringComparison.Ordinal);

        await fabric.Admin(Virginia).DrainAsync(new DrainRequest { Link = "dx", Undo = true });
        await fabric.Admin(Paris).UntilAsync(s => ActiveLink(s) == "dx" && Link(s, "dx").Drained == "" && Link(s, "internet").Role == "drained");
        Assert.Equal("on dx", await call.EchoAsync("on dx"));

        var missing = await Assert.ThrowsAsync<GrpcException>(() => fabric.Admin(Paris).DrainAsync(new DrainRequest { Link = "lte" }));
        Assert.Equal((GrpcStatus.NotFound, "this gateway has no link 'lte'"), (missing.Status, missing.Detail));
    }

    [Fact]
    public async Task Drain_of_a_link_ends_with_the_process_that_drains()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        await fabric.Admin(Virginia).DrainAsync(new DrainRequest { Link = "dx" });
        await fabric.Admin(Paris).UntilAsync(s => Link(s, "dx") is { Drained: "by virginia-1" });

        await fabric.StopAsync(Virginia);
        await fabric.StartAsync(Virginia);

        await fabric.Admin(Paris).UntilAsync(s => Link(s, "dx") is { Drained: "", Role: "active" });
    }

    private static async Task<string?> RefusedAsync(LoopbackFabric fabric)
    {
        try
        {
            return await fabric.AnsweredByAsync();
        }
        catch (System.Net.Sockets.SocketException)
        {
            return null;
        }
    }

    private static async Task<Calls> CallsAsync(LoopbackFabric fabric, int count)
    {
        var calls = new Calls();
        for (var i = 0; i < count; i++)
        {
            calls.List.Add(await fabric.CallAsync());
            Assert.Equal("virginia", await calls.List[^1].ReadLineAsync());
        }

        return calls;
    }

    private static (uint First, uint Second) Streams(Status status) =>
        status.Sites.Single(s => s.Name == "virginia").Gateways is [var first, var second] ? (first.Streams, second.Streams) : default;

    private static string ActiveLink(Status status) => status.Sites.Single(s => s.Name == "virginia").Gateways[0].ActiveLink;

    private static LinkStatus Link(Status status, string name) => status.Links.Single(l => l.Name == name && l.Peer == Virginia);

    private sealed class Calls : IDisposable
    {
        public List<LoopbackFabric.Call> List { get; } = [];

        public void Dispose() => List.ForEach(c => c.Dispose());
    }
}
