using System.Diagnostics;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>How long and how much.</summary>
/// <param name="WarmUp">Before each window.</param>
/// <param name="Window">In which is measured.</param>
/// <param name="Connections">That stay idle.</param>
public sealed record Sizes(TimeSpan WarmUp, TimeSpan Window, int Connections);

/// <summary>One load on one contestant, and what it says about the measures that it is for.</summary>
/// <param name="Fresh">Whether the contestant starts again before it: memory that it took for another load would hide what it takes for this one.</param>
internal sealed record Workload(string[] Measures, Func<Contestant, Sizes, Task<double[]>> Run, bool Fresh = false)
{
    private const int Clients = 32;
    private const double LimitedGib = 0.14;
    private const double Gib = 1L << 30;

    public static IReadOnlyList<Workload> All { get; } =
    [
        new(["bulk_1", "cpu_per_gib"], (c, s) => Bulk(c, s, 1)),
        new(["bulk_8", "cpu_per_gib_8"], (c, s) => Bulk(c, s, 8)),
        new(["rps_32", "p99_32", "p50_32", "p999_32", "cpu_per_request"], Requests),
        new(["mixed_p99", "mixed_bulk"], MixedFull),
        new(["mixed_rps", "mixed_rps_bulk"], MixedLimited),
        new(["conns_per_s", "cpu_per_conn"], Connects),
        new(["idle_kib", "rss_after_load"], Memory, Fresh: true),
    ];

    /// <summary>Lets it run hot, and checks that bytes arrive as they were sent.</summary>
    public static async Task Warm(Contestant contestant, Sizes sizes)
    {
        BulkLoad.Verify(contestant.Address, 32 << 20);
        await Bulk(contestant, sizes, 8);
        await Requests(contestant, sizes);
        await Connects(contestant, sizes);
    }

    internal static async Task<double[]> Bulk(Contestant contestant, Sizes sizes, int streams)
    {
        using var bulk = new BulkLoad(contestant.Address, streams);
        var window = await Observe(contestant, sizes, null, bulk);
        return [window.Gib / window.Seconds, window.Cpu / window.Gib];
    }

    internal static async Task<double[]> Requests(Contestant contestant, Sizes sizes)
    {
        using var requests = new RequestLoad(contestant.Address, Clients);
        var window = await Observe(contestant, sizes, requests, null);
        return [window.PerSecond, window.Latencies.Percentile(99), window.Latencies.Percentile(50), window.Latencies.Percentile(99.9), window.CpuMicroseconds];
    }

    private static async Task<double[]> MixedFull(Contestant contestant, Sizes sizes)
    {
        var window = await Mixed(contestant, sizes, 0, LimitedGib / 2);
        return [window.Latencies.Percentile(99), window.Gib / window.Seconds];
    }

    private static async Task<double[]> MixedLimited(Contestant contestant, Sizes sizes)
    {
        var window = await Mixed(contestant, sizes, LimitedGib * Gib, 0.8 * LimitedGib);
        return [window.PerSecond, window.Gib / window.Seconds];
    }

    /// <param name="least">GiB/s of bulk: who lets it starve answers small requests easily, and carries no mixed load.</param>
    private static async Task<Window> Mixed(Contestant contestant, Sizes sizes, double bytesPerSecond, double least)
    {
        using var bulk = new BulkLoad(contestant.Address, 2, bytesPerSecond);
        using var requests = new RequestLoad(contestant.Address, Clients);
        var window = await Observe(contestant, sizes, requests, bulk);
        return window.Gib / window.Seconds >= least ? window
            : throw new LabException($"beside the requests, bulk got {window.Gib / window.Seconds:0.000} GiB/s");
    }

    internal static async Task<double[]> Connects(Contestant contestant, Sizes sizes)
    {
        using var requests = new RequestLoad(contestant.Address, Clients, fresh: true);
        var window = await Observe(contestant, sizes, requests, null);
        return [window.PerSecond, window.CpuMicroseconds];
    }

    private static async Task<double[]> Memory(Contestant contestant, Sizes sizes)
    {
        // What every program takes once is not a connection's.
        await Requests(contestant, sizes);
        await Settle();
        var before = contestant.Footprint.ResidentKib;
        double each;
        using (new IdleConnections(contestant.Address, sizes.Connections))
        {
            await Settle();
            each = (contestant.Footprint.ResidentKib - before) / (double)sizes.Connections;
        }

        await Bulk(contestant, sizes, 8);
        await Settle();
        return [each, contestant.Footprint.ResidentKib / 1024.0];
    }

    private static Task Settle() => Task.Delay(TimeSpan.FromSeconds(7), Interruption.Token);

    private static async Task<Window> Observe(Contestant contestant, Sizes sizes, RequestLoad? requests, BulkLoad? bulk)
    {
        await Task.Delay(sizes.WarmUp, Interruption.Token);
        var (began, cpu, bytes) = (Stopwatch.GetTimestamp(), contestant.Footprint.CpuSeconds, bulk?.Bytes ?? 0);
        requests?.Take();
        await Task.Delay(sizes.Window, Interruption.Token);
        var latencies = requests?.Take() ?? new Histogram();
        var window = new Window(Stopwatch.GetElapsedTime(began).TotalSeconds, contestant.Footprint.CpuSeconds - cpu, (bulk?.Bytes ?? 0) - bytes, latencies);
        return (requests is null || latencies.Count > 0) && (bulk is null || window.Bytes > 0) ? window : throw new LabException("nothing came through");
    }

    private sealed record Window(double Seconds, double Cpu, long Bytes, Histogram Latencies)
    {
        public double Gib => Bytes / Workload.Gib;
        public double PerSecond => Latencies.Count / Seconds;
        public double CpuMicroseconds => Cpu / Latencies.Count * 1e6;
    }
}
