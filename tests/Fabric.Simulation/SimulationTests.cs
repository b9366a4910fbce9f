using System.Diagnostics;
using System.Globalization;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>Many gateways under everything a network does, by seed. More seeds, and a failing one again: <c>scripts/simulate.sh</c>.</summary>
public sealed class SimulationTests
{
    private const int Seeds = 500;

    /// <summary>Seeds within which a planted mistake must be found.</summary>
    private const int Enough = 60;

    [Fact]
    public void Every_invariant_holds_whatever_the_network_does()
    {
        var runner = new Runner();
        runner.Run(first: 1, Seeds);
        Assert.True(runner.Failures.Count == 0, runner.Failures.FirstOrDefault()?.Message
            + $"; replay: scripts/simulate.sh --seed {runner.Failures.FirstOrDefault()?.Seed}");

        // A simulation that never resends, moves, fences, retries or loses proves nothing.
        var counters = runner.Counters;
        Assert.All(counters.All, counter => Assert.True(counter.Value > 0, $"{counter.Name} was never exercised: {counters}"));
        Assert.True(counters.Completed * 2 > counters.Calls, $"most calls should succeed: {counters}");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void The_same_seed_gives_the_same_trace(int seed)
    {
        var (one, two) = (new World(seed), new World(seed, tail: 10));
        one.Run();
        two.Run();
        Assert.Equal((one.Digest, one.Steps), (two.Digest, two.Steps));
        Assert.NotEqual(one.Digest, Other(seed));
    }

    private static ulong Other(int seed)
    {
        var other = new World(seed + 1000);
        other.Run();
        return other.Digest;
    }

    /// <summary>Hashes of strings differ between processes: nothing may depend on them.</summary>
    [Fact]
    public async Task The_same_seed_gives_the_same_trace_in_another_process()
    {
        var world = new World(4);
        world.Run();
        var assembly = typeof(SimulationTests).Assembly.Location;
        using var process = Process.Start(new ProcessStartInfo("dotnet", [assembly, "--seed", "4", "--tail", "1"]) { RedirectStandardOutput = true })!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.Contains($"digest {world.Digest.ToString("x16", CultureInfo.InvariantCulture)}", output);
        Assert.Equal(0, process.ExitCode);
    }

    [Theory]
    [InlineData(nameof(Mistake.FencedLaneIsHeard))]
    [InlineData(nameof(Mistake.FinIsNotResent))]
    [InlineData(nameof(Mistake.AckIsOneTooMany))]
    [InlineData(nameof(Mistake.ResumeSkipsAByte))]
    [InlineData(nameof(Mistake.CreditLeaks))]
    public void A_planted_mistake_is_found(string mistake)
    {
        // Invariants that the sound code breaks find no mistake.
        var sound = new Runner();
        var planted = new Runner();
        planted.Run(first: 1, Enough, Enum.Parse<Mistake>(mistake));
        var found = Assert.Single(planted.Failures.Take(1));
        sound.Run(found.Seed, 1);
        Assert.Empty(sound.Failures);
    }
}
