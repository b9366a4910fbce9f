using System.Diagnostics;

using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;
using Fabric.Testing.Links;

namespace Fabric.Lab.Failover;

/// <summary>
/// Streams of 64 MiB, four at a time, over three links of 400 Mbit/s, which leave room on two cores, while faults by chance come and
/// go: cuts of one direction or both, loss, delay, packets twice or out of order, a narrow link. Every block of every stream has
/// its number and SHA-256.
/// </summary>
public sealed class HashedStreams(long bytes, int faults, Progress progress)
{
    private const int AtOnce = 4;
    private const long StreamBytes = 64 << 20;

    private readonly Random _random = new(11);
    private long _bytes;

    public static IReadOnlyList<Wire> Wires => [new(20), new(22), new(24)];

    /// <summary>Streams of which anything was wrong, missing, or that ended early.</summary>
    public int Wrong { get; private set; }

    public int Streams { get; private set; }
    public int Faults { get; private set; }
    public long Bytes => Interlocked.Read(ref _bytes);

    public async Task Run(FailoverFabric fabric)
    {
        foreach (var link in fabric.Links)
        {
            link.Conditions = Whole(link);
        }

        var trouble = Trouble(fabric);
        await Task.WhenAll([trouble, .. Enumerable.Range(0, AtOnce).Select(_ => Worker(fabric, trouble))]);

        async Task Worker(FailoverFabric fabric, Task trouble)
        {
            while (Bytes < bytes || !trouble.IsCompleted)
            {
                using var stream = await fabric.OpenBulk(StreamBytes / BulkServer.Block, bytesPerSecond: 0);
                var (dropped, lost) = await stream.Result.WaitAsync(Interruption.Token);
                Interlocked.Add(ref _bytes, stream.Bytes);
                lock (_random)
                {
                    Streams++;
                    Wrong += dropped > 0 || lost > 0 ? 1 : 0;
                }

                progress.Now($"hashed streams: {Bytes / (1 << 20):N0} of {bytes / (1 << 20):N0} MiB, {Faults} of {faults} faults");
            }
        }
    }

    /// <summary>What a link is like without a fault.</summary>
    internal static LinkConditions Whole(EmulatedLink link) => new()
    {
        Delay = link.AToB.Conditions.Delay,
        BitsPerSecond = 400_000_000,
        QueueBytes = 4 << 20,
    };

    private async Task Trouble(FailoverFabric fabric)
    {
        while (Faults < faults)
        {
            await Task.Delay(TimeSpan.FromSeconds(0.5 + _random.NextDouble()), Interruption.Token);
            var link = fabric.Links[_random.Next(fabric.Links.Count)];
            var whole = link.AToB.Conditions;
            var bad = _random.Next(8) switch
            {
                0 or 1 or 2 => whole with { Cut = true },
                3 => whole with { Loss = 0.01 + 0.2 * _random.NextDouble() },
                4 => whole with { Delay = whole.Delay + TimeSpan.FromMilliseconds(200 * _random.NextDouble()) },
                5 => whole with { Duplicate = 0.3 },
                6 => whole with { Reorder = 0.3 },
                _ => whole with { BitsPerSecond = 10_000_000 },
            };
            switch (_random.Next(3))
            {
                case 0:
                    link.AToB.Conditions = bad;
                    break;
                case 1:
                    link.BToA.Conditions = bad;
                    break;
                default:
                    link.Conditions = bad;
                    break;
            }

            await Task.Delay(TimeSpan.FromSeconds(0.2 + 1.2 * _random.NextDouble()), Interruption.Token);
            link.Conditions = whole;
            Faults++;
        }
    }
}
