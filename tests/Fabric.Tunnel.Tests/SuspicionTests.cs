using System.Diagnostics;
using System.Net.Sockets;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>Before anybody has declared a link dead: what is outstanding leaves on the second link as well.</summary>
public abstract class SuspicionTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Theory]
    [InlineData(LinkFault.Cut)]
    [InlineData(LinkFault.CutIn)]
    [InlineData(LinkFault.CutOut)]
    public async Task Messages_go_on_over_the_second_link_before_any_verdict(LinkFault fault)
    {
        await using var pair = await Pair.StartAsync(_authority, driver, new TunnelLimits { LateLimit = TimeSpan.FromMinutes(5) });
        var (client, server) = await pair.ConnectAsync();
        _ = EchoAsync(server);
        await RoundTripsAsync(client, 20);
        pair.Alpha.Faults.Set("beta", "one", fault);
        await RoundTripsAsync(client, 20);
        var (alpha, beta) = (pair.Alpha.SessionWith("beta"), pair.Beta.SessionWith("alpha"));
        Assert.Equal("one", alpha.ActiveLink);
        Assert.True(alpha.Counters.Copied + beta.Counters.Copied > 0, "nothing was copied");
        Assert.Contains("two", new[] { alpha.CopiesTo, beta.CopiesTo });

        pair.Alpha.Faults.Set("beta", "one", LinkFault.None);
        await Pair.Until(() => pair.Alpha.SessionWith("beta").CopiesTo is null && pair.Beta.SessionWith("alpha").CopiesTo is null,
            "the answers on link one end the suspicion");
        await RoundTripsAsync(client, 20);
    }

    [Fact]
    public async Task A_probe_that_is_late_is_enough()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        _ = EchoAsync(server);
        pair.Alpha.Tunnel.SetPaths("beta", new LinkPaths(["one", "two"], ["one"], []));
        await RoundTripsAsync(client, 10);
        Assert.Equal("two", pair.Alpha.SessionWith("beta").CopiesTo);
        // A message that is answered before its copy leaves needs none: so until one was not, at either end, since the other end suspects with it.
        for (var since = Stopwatch.StartNew(); pair.Alpha.SessionWith("beta").Counters.Copied == 0 || pair.Beta.SessionWith("alpha").Counters.Copied == 0;)
        {
            Assert.True(since.Elapsed < Pair.Limit, "nothing was copied");
            await RoundTripsAsync(client, 10);
        }

        pair.Alpha.Tunnel.SetPaths("beta", new LinkPaths(["one", "two"], [], []));
        await Pair.Until(() => pair.Alpha.SessionWith("beta").CopiesTo is null && pair.Beta.SessionWith("alpha").CopiesTo is null, "calm");
        await RoundTripsAsync(client, 10);
    }

    [Fact]
    public async Task Bulk_waits_for_the_verdict_and_copies_are_bounded()
    {
        var limits = new TunnelLimits { CopyBurst = 64 * 1024, CopyRate = 1024, LateLimit = TimeSpan.FromMinutes(5) };
        await using var pair = await Pair.StartAsync(_authority, driver, limits);
        var (client, server) = await pair.ConnectAsync();
        var received = Traffic.ReceiveAsync(server);
        pair.Alpha.Tunnel.SetPaths("beta", new LinkPaths(["one", "two"], ["one"], []));
        var sent = Traffic.SendAsync(client, 20_000_000, 1);
        Assert.Equal((await sent.WaitAsync(Pair.Limit), 20_000_000), await received.WaitAsync(Pair.Limit));
        Assert.InRange(pair.Alpha.SessionWith("beta").Counters.Copied, 0, 512 * 1024);
    }

    [Fact]
    public async Task A_link_that_never_answers_is_given_up_without_any_probe()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, new TunnelLimits { LateLimit = TimeSpan.FromMilliseconds(300) });
        var (client, server) = await pair.ConnectAsync();
        _ = EchoAsync(server);
        await RoundTripsAsync(client, 5);
        pair.Cut("one", LinkFault.Cut);
        await RoundTripsAsync(client, 5);
        await Pair.Until(() => pair.Alpha.SessionWith("beta").ActiveLink == "two", "link one is given up");
        await RoundTripsAsync(client, 5);
    }

    [Fact]
    public async Task A_mirrored_stream_does_not_wait_for_suspicion()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, new TunnelLimits { LateLimit = TimeSpan.FromMinutes(5) });
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute("beta", Pair.Open with { Mirrored = true })]);
        var (client, server) = await pair.ConnectAsync();
        var up = Traffic.SendAsync(client, 10_000_000, 1);
        var atServer = Traffic.ReceiveAsync(server);
        Assert.Equal((await up.WaitAsync(Pair.Limit), 10_000_000), await atServer.WaitAsync(Pair.Limit));
        pair.Cut("one", LinkFault.Cut);
        var down = Traffic.SendAsync(server, 10_000_000, 2);
        // Read from the beginning: windows and the kernel's buffers need not take all of it.
        var atClient = Traffic.ReceiveAsync(client);
        Assert.Equal((await down.WaitAsync(Pair.Limit), 10_000_000), await atClient.WaitAsync(Pair.Limit));
        Assert.Equal("one", pair.Beta.SessionWith("alpha").ActiveLink);
        Assert.True(pair.Alpha.SessionWith("beta").Counters.Mirrored > 0, "nothing was mirrored");
    }

    [Fact]
    public async Task A_mirrored_stream_survives_either_link()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute("beta", Pair.Open with { Mirrored = true })]);
        var (client, server) = await pair.ConnectAsync();
        _ = EchoAsync(server);
        foreach (var (dead, alive) in new[] { ("one", "two"), ("two", "one"), ("one", "two") })
        {
            pair.Cut(dead, LinkFault.Cut);
            await RoundTripsAsync(client, 10);
            pair.Paths([alive], [dead]);
            await RoundTripsAsync(client, 10);
            pair.Cut(dead, LinkFault.None);
            await pair.LanesAsync(2);
            pair.Paths(["one", "two"], []);
            await RoundTripsAsync(client, 10);
        }
    }

    private static async Task EchoAsync(Socket socket)
    {
        var buffer = new byte[4096];
        while (await socket.ReceiveAsync(buffer) is var read && read > 0)
        {
            await socket.SendAsync(buffer.AsMemory(0, read));
        }
    }

    /// <summary>Numbered messages, each answered before the next.</summary>
    private static async Task RoundTripsAsync(Socket client, int count)
    {
        var (message, answer) = (new byte[64], new byte[64]);
        for (var i = 0; i < count; i++)
        {
            Random.Shared.NextBytes(message);
            await client.SendAsync(message);
            for (var read = 0; read < answer.Length;)
            {
                var more = await client.ReceiveAsync(answer.AsMemory(read)).AsTask().WaitAsync(Pair.Limit);
                Assert.True(more > 0, "the connection ended");
                read += more;
            }

            Assert.Equal(message, answer);
        }
    }
}

public sealed class PortableSuspicionTests() : SuspicionTests(TunnelDriver.Portable);

public sealed class LinuxSuspicionTests() : SuspicionTests(TunnelDriver.Linux);
