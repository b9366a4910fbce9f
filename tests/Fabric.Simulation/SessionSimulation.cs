using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>
/// The session's core under everything a network does, by seed. <c>FABRIC_SIMULATION_SEEDS=5000</c> runs more seeds,
/// <c>FABRIC_SIMULATION_FIRST=123</c> begins elsewhere; a failure names its seed.
/// </summary>
public sealed class SessionSimulation
{
    private static int Setting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), out var value) ? value : otherwise;

    [Fact]
    public void Streams_survive_whatever_the_links_do()
    {
        var first = Setting("FABRIC_SIMULATION_FIRST", 1);
        long sent = 0, resent = 0, moves = 0, discarded = 0;
        var lost = 0;
        for (var seed = first; seed < first + Setting("FABRIC_SIMULATION_SEEDS", 200); seed++)
        {
            var world = new World(seed);
            Run(world);
            sent += world.A.Core.BytesSent + world.B.Core.BytesSent;
            resent += world.A.Core.BytesResent + world.B.Core.BytesResent;
            moves += world.A.Core.Moves + world.B.Core.Moves;
            discarded += world.A.Core.Discarded + world.B.Core.Discarded;
            lost += world.A.IsLost ? 1 : 0;
        }

        // A simulation that never resends, moves, fences or loses proves nothing.
        Assert.True(resent > 0 && moves > 0 && discarded > 0 && lost > 0 && sent > resent,
            $"sent {sent}, resent {resent}, moves {moves}, discarded {discarded}, sessions lost {lost}");
    }

    [Fact]
    public void The_same_seed_gives_the_same_trace()
    {
        foreach (var seed in new[] { 1, 2, 3 })
        {
            var (one, two) = (new World(seed), new World(seed));
            Run(one);
            Run(two);
            Assert.Equal((one.Trace, one.Steps), (two.Trace, two.Steps));
        }
    }

    [Theory]
    [InlineData(nameof(Mistake.FencedLaneIsHeard))]
    [InlineData(nameof(Mistake.FinIsNotResent))]
    [InlineData(nameof(Mistake.AckIsOneTooMany))]
    [InlineData(nameof(Mistake.ResumeSkipsAByte))]
    [InlineData(nameof(Mistake.CreditLeaks))]
    public void A_planted_mistake_is_found(string mistake)
    {
        Exception? found = null;
        for (var seed = 1; seed <= 40 && found is null; seed++)
        {
            Run(new World(seed));
            found = Record.Exception(() => Run(new World(seed, Enum.Parse<Mistake>(mistake))));
        }

        Assert.IsType<InvariantException>(found);
    }

    private static void Run(World world)
    {
        try
        {
            world.Run();
        }
        catch (Exception error) when (error is not InvariantException)
        {
            throw new InvariantException($"seed {world.Seed} at {world.Now.TotalSeconds:0.000} s: {error}");
        }
    }
}
