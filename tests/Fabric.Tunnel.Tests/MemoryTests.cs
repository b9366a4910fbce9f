using System.Net.Sockets;
using Fabric.Protocol.Tunnel;
using Fabric.Testing;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>One cap for all sessions: pressure before it, a fair part for each, and room again as soon as there is.</summary>
public abstract class MemoryTests(TunnelDriver driver) : IDisposable
{
    private const int MiB = 1 << 20;

    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public void The_default_comes_from_what_the_heap_may_have()
    {
        Assert.Equal(256L * MiB, TunnelLimits.DefaultMemory(32L << 30));
        Assert.Equal(64L * MiB, TunnelLimits.DefaultMemory(256L * MiB));
        Assert.Equal(16L * MiB, TunnelLimits.DefaultMemory(10L * MiB));
        Assert.Equal(TunnelLimits.DefaultMemory(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes), new TunnelLimits().Memory);
    }

    [Fact]
    public void Each_session_has_its_part_and_none_takes_all()
    {
        var budget = new MemoryBudget(128 * MiB);
        MemoryShare[] sessions = [new(budget), new(budget), new(budget)];
        void Fill(MemoryShare session)
        {
            while (session.MayRetain())
            {
                session.Retained += 64 * 1024;
            }
        }

        Fill(sessions[0]);
        Assert.InRange(sessions[0].Retained, 42L * MiB, 43L * MiB);
        Fill(sessions[1]);
        Fill(sessions[2]);
        Assert.All(sessions, s => Assert.True(s.Retained >= 2 * MiB));
        Assert.True(budget.Retained < 64 * MiB);

        // What the first lets go of is there for the others.
        sessions[0].Retained = 0;
        Fill(sessions[1]);
        Assert.True(sessions[1].Retained > 15 * MiB, $"{sessions[1].Retained}");
    }

    [Fact]
    public void Buffers_are_reused_until_the_pool_is_trimmed()
    {
        var pool = new SlabPool(128 * MiB);
        var (kept, used) = (pool.Rent(SlabPool.LargeSize), pool.Rent(SlabPool.LargeSize));
        kept.Release();
        Assert.Same(kept, pool.Rent(SlabPool.LargeSize));

        kept.Release();
        pool.Trim();
        Assert.NotSame(kept, pool.Rent(SlabPool.LargeSize));
        Assert.Equal(2 * SlabPool.LargeSize, pool.Rented);
        used.Release();
        Assert.Same(used, pool.Rent(SlabPool.LargeSize));
    }

    [Fact]
    public void At_pressure_there_is_only_what_is_guaranteed_and_the_least_window()
    {
        var budget = new MemoryBudget(128 * MiB);
        var session = new MemoryShare(budget);
        Assert.Equal((true, 256 * 1024), (session.MayGrow, session.FirstWindow(16 * 1024, 256 * 1024)));
        budget.Rent(96 * MiB);
        Assert.Equal((false, 16 * 1024), (session.MayGrow, session.FirstWindow(16 * 1024, 256 * 1024)));
        Assert.True(session.MayRetain());
        session.Retained = budget.Guaranteed;
        Assert.False(session.MayRetain());
        var told = 0;
        budget.Freed = () => told++;
        budget.Return(MiB);
        Assert.Equal(0, told);
        budget.Return(2 * MiB);
        budget.Return(2 * MiB);
        Assert.Equal(1, told);
        Assert.True(session.MayRetain());
    }

    [Fact]
    public void At_the_cap_the_one_that_uses_most_gives_way()
    {
        var budget = new MemoryBudget(128 * MiB);
        MemoryShare hog = new(budget), small = new(budget), idle = new(budget);
        (hog.Promised, small.Promised) = (100 * MiB, 4 * MiB);
        var behind = TimeSpan.FromSeconds(6);
        Assert.False(hog.MustGiveWay(behind));
        budget.Rent(128 * MiB);
        Assert.Equal((true, false, false), (hog.MustGiveWay(behind), small.MustGiveWay(behind), idle.MustGiveWay(behind)));
        Assert.False(hog.MustGiveWay(TimeSpan.Zero));
        budget.Rent(32 * MiB);
        Assert.Equal((true, false), (hog.MustGiveWay(TimeSpan.Zero), small.MustGiveWay(TimeSpan.Zero)));
    }

    [Fact]
    public async Task Small_memory_slows_bytes_down_and_loses_none()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, new TunnelLimits { Memory = 16 * MiB });
        var streams = new List<(Task<string> Up, Task<string> Down, Task<(string, long)> AtServer, Task<(string, long)> AtClient)>();
        for (var i = 0; i < 64; i++)
        {
            var (client, server) = await pair.ConnectAsync();
            streams.Add((Task.Run(() => Traffic.SendAsync(client, 1_500_000, i)), Task.Run(() => Traffic.SendAsync(server, 1_500_000, i + 100)),
                Traffic.ReceiveAsync(server), Traffic.ReceiveAsync(client)));
        }

        var most = 0L;
        var all = Task.WhenAll(streams.Select(s => Task.WhenAll(s.Up, s.Down, s.AtServer, s.AtClient)));
        while (await Task.WhenAny(all, Task.Delay(5)) != all)
        {
            most = Math.Max(most, Math.Max(pair.Alpha.Tunnel.Usage.MemoryUsed, pair.Beta.Tunnel.Usage.MemoryUsed));
        }

        await all.WaitAsync(Pair.Limit);
        foreach (var s in streams)
        {
            Assert.Equal((await s.Up, 1_500_000), await s.AtServer);
            Assert.Equal((await s.Down, 1_500_000), await s.AtClient);
        }

        Assert.InRange(most, 1, 20 * MiB);
        Assert.DoesNotContain([.. pair.Alpha.Tunnel.Usage.Refusals, .. pair.Beta.Tunnel.Usage.Refusals], r => r is { Kind: Refusal.Memory or Refusal.OpenLimit, Count: > 0 });
    }

    [Fact]
    public async Task Who_fills_memory_is_reset_and_the_honest_session_goes_on()
    {
        var limits = new TunnelLimits { Memory = 16 * MiB, Grace = TimeSpan.FromMilliseconds(500) };
        await using var siege = await Siege.LayAsync(_authority, driver, limits);
        var evil = await siege.JoinAsync();
        var payload = new byte[16 * 1024];
        var resets = 0;
        var reading = Task.Run(async () =>
        {
            while (true)
            {
                await evil.NextAsync(FrameType.Reset);
                Assert.Contains("no memory left", evil.Reason!.Reason);
                Interlocked.Increment(ref resets);
            }
        });

        // Thousands of streams whose application reads nothing, each filled up to the least window, in pieces and with gaps.
        for (var i = 1u; i < 2_500; i++)
        {
            await evil.OpenAsync(i * 2);
        }

        for (var i = 1u; i < 2_500; i++)
        {
            await evil.SendAsync(FrameType.Data, i * 2, 0, payload[..(8 * 1024)]);
            await evil.SendAsync(FrameType.Data, i * 2, 12 * 1024, payload[..(4 * 1024)]);
        }

        await Pair.Until(() => Volatile.Read(ref resets) > 0, "streams are reset");
        Assert.InRange(siege.Victim.Tunnel.Usage.MemoryUsed, 0, 22 * MiB);
        Assert.InRange(siege.Refused(Refusal.Memory), 1, 2_500);
        await siege.HonestAsync();
        await siege.NothingLeftAsync();
        await Record.ExceptionAsync(() => reading);
    }

    [Fact]
    public async Task Who_acknowledges_nothing_has_its_part_of_memory_and_no_more()
    {
        var limits = new TunnelLimits { Memory = 16 * MiB, Grace = TimeSpan.FromMilliseconds(500) };
        await using var siege = await Siege.LayAsync(_authority, driver, limits);
        var honest = siege.Victim.Decide;
        siege.Victim.Decide = (peer, open) => peer == "alpha" ? honest(peer, open) : new EgressVerdict.Handle(async stream =>
        {
            while (true)
            {
                await stream.WriteAsync(new byte[65_536]);
            }
        });
        var evil = await siege.JoinAsync();
        for (var id = 2u; id < 400; id += 2)
        {
            await evil.OpenAsync(id, 1L << 62);
        }

        await Pair.Until(() => siege.Victim.Tunnel.Usage.Retained > 4 * MiB, "it has its part");
        Assert.InRange(siege.Victim.Tunnel.Usage.Retained, 4 * MiB, 8 * MiB);
        var (client, server) = await siege.Pair.ConnectAsync();
        var down = Traffic.SendAsync(server, 5_000_000, 3);
        var atClient = Traffic.ReceiveAsync(client);
        Assert.Equal((await down.WaitAsync(Pair.Limit), 5_000_000), await atClient.WaitAsync(Pair.Limit));
        await siege.HonestAsync();
        client.Dispose();
        server.Dispose();
        await siege.NothingLeftAsync();
    }

    [Fact]
    public async Task Applications_are_read_again_when_memory_is_freed()
    {
        // Ten streams of which nothing is read fill the memory; then they are.
        await using var pair = await Pair.StartAsync(_authority, driver, new TunnelLimits { Memory = 4 * MiB });
        var streams = new List<(Socket Client, Socket Server, Task<string> Sent)>();
        for (var i = 0; i < 10; i++)
        {
            var (client, server) = await pair.ConnectAsync();
            streams.Add((client, server, Task.Run(() => Traffic.SendAsync(client, 10_000_000, i))));
        }

        await Pair.Until(() => pair.Alpha.Tunnel.Usage.Retained + pair.Beta.Tunnel.Usage.Promised > MiB, "memory is in use");
        await Task.Delay(200);
        foreach (var (client, server, sent) in streams)
        {
            var received = Traffic.ReceiveAsync(server);
            Assert.Equal((await sent.WaitAsync(Pair.Limit), 10_000_000), await received.WaitAsync(Pair.Limit));
            client.Dispose();
            server.Dispose();
        }

        await Pair.Until(() => pair.Alpha.Tunnel.Usage is { Retained: 0, Promised: 0 }, "nothing is kept at alpha");
        await Pair.Until(() => pair.Beta.Tunnel.Usage is { Retained: 0, Promised: 0 }, "nothing is kept at beta");
    }
}

public sealed class PortableMemoryTests() : MemoryTests(TunnelDriver.Portable);

public sealed class LinuxMemoryTests() : MemoryTests(TunnelDriver.Linux);
