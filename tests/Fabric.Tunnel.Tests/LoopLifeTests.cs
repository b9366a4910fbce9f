using System.Net.Sockets;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>An event loop that stands still is known to, and one that sleeps is not taken for it.</summary>
public sealed class LoopLifeTests
{
    [RequiresFact("libssl")]
    public async Task A_loop_that_stands_still_owes_an_answer_until_it_turns_again()
    {
        using var authority = new TestAuthority();
        await using var pair = await Pair.StartAsync(authority, TunnelDriver.Linux);
        TimeSpan Longest() => pair.Alpha.Tunnel.Usage.Driver!.Loops.Max(l => l.Unanswered);
        // Long enough for what sleeps to be asked; on a busy machine its thread may owe the answer for a while all the same.
        await Task.Delay(1_500);
        await Pair.Until(() => Longest() == TimeSpan.Zero, "a loop that sleeps answers");

        // What decides is called on the loop's thread.
        using var hold = new ManualResetEventSlim();
        pair.Alpha.Plan = _ =>
        {
            hold.Wait(Pair.Limit);
            return new IngressPlan([], "it took its time");
        };
        using var client = new TcpClient();
        await client.ConnectAsync(pair.Service);
        await Pair.Until(() => Longest() > TimeSpan.FromSeconds(1.2), "the loop owes an answer");

        hold.Set();
        await Pair.Until(() => Longest() < TimeSpan.FromSeconds(1), "the loop turns again");
    }
}
