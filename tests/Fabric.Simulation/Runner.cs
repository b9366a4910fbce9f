using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>A seed that broke an invariant.</summary>
public sealed record Failure(int Seed, string Message);

/// <summary>Runs many worlds, each on one thread, on all cores.</summary>
internal sealed class Runner
{
    private readonly Lock _lock = new();

    /// <summary>Sums over the worlds that held.</summary>
    public Counters Counters { get; } = new() { Worlds = 0 };

    public List<Failure> Failures { get; } = [];

    /// <param name="first">First seed.</param>
    /// <param name="count">How many.</param>
    /// <param name="mistake">Planted into every session.</param>
    /// <param name="ended">Told after each seed, one at a time.</param>
    /// <param name="mostFailures">Ends the run.</param>
    public void Run(int first, int count, Mistake mistake = Mistake.None, Action? ended = null, int mostFailures = 1)
    {
        var next = first - 1;
        var threads = Enumerable.Range(0, Environment.ProcessorCount).Select(_ => new Thread(Work, maxStackSize: 1 << 20) { IsBackground = true }).ToArray();
        Array.ForEach(threads, t => t.Start());
        Array.ForEach(threads, t => t.Join());

        void Work()
        {
            int seed;
            while ((seed = Interlocked.Increment(ref next)) - first < count)
            {
                lock (_lock)
                {
                    if (Failures.Count >= mostFailures)
                    {
                        return;
                    }
                }

                Failure? failure = null;
                Counters? counters = null;
                try
                {
                    var world = new World(seed, mistake);
                    world.Run();
                    counters = world.Counters;
                }
                catch (InvariantException error)
                {
                    failure = new Failure(seed, error.Message);
                }
                catch (Exception error)
                {
                    failure = new Failure(seed, $"seed {seed}: {error}");
                }

                lock (_lock)
                {
                    if (failure is not null)
                    {
                        Failures.Add(failure);
                    }
                    else
                    {
                        Counters.Add(counters!);
                    }

                    ended?.Invoke();
                }
            }
        }
    }
}
