namespace Fabric.Lab.TunnelBench;

/// <summary>What a figure is compared with.</summary>
public enum Against
{
    /// <summary>The peer that is the best over all rounds.</summary>
    BestPeer,

    /// <summary>HAProxy alone.</summary>
    HaProxy,

    /// <summary>Nothing: the goal is of the measured value itself.</summary>
    Nothing,
}

/// <summary>One row of the table.</summary>
/// <param name="MoreIsBetter">Otherwise less is.</param>
/// <param name="Goal">Null for a row that only explains others.</param>
public sealed record Measure(string Name, string Unit, bool MoreIsBetter, double? Goal, string What, Against Against = Against.BestPeer)
{
    public static IReadOnlyList<Measure> All { get; } =
    [
        new("bulk_1", "GiB/s", true, 1.25, "one stream"),
        new("cpu_per_gib", "CPU s", false, 0.75, "per GiB of that stream, both ends"),
        new("bulk_8", "GiB/s", true, 1.25, "8 streams"),
        new("cpu_per_gib_8", "CPU s", false, null, "per GiB of these streams"),
        new("rps_32", "1/s", true, 1.4, "small requests on 32 connections"),
        new("p99_32", "ms", false, 0.2, "their 99th percentile"),
        new("p50_32", "ms", false, null, "their median"),
        new("p999_32", "ms", false, null, "their 99.9th percentile"),
        new("cpu_per_request", "CPU µs", false, null, "per such request, both ends"),
        new("mixed_p99", "ms", false, 0.2, "the same beside two bulk streams at full speed"),
        new("mixed_bulk", "GiB/s", true, null, "these two streams"),
        new("mixed_rps", "1/s", true, 1.5, "the same, bulk limited to 0.14 GiB/s in all"),
        new("mixed_rps_bulk", "GiB/s", true, null, "the limited streams"),
        new("conns_per_s", "1/s", true, 7, "connect, request, response, close; 32 at once"),
        new("cpu_per_conn", "CPU µs", false, null, "per such connection, both ends"),
        new("idle_kib", "KiB", false, 4, "per idle connection, both ends", Against.Nothing),
        new("rss_after_load", "MiB", false, 0.8, "resident after idle connections and bulk, both ends, to HAProxy's", Against.HaProxy),
        new("telemetry_throughput_cost", "share", false, 0.03, "of bulk or requests, whichever loses more, by exporting telemetry", Against.Nothing),
        new("telemetry_cpu_cost", "share", false, 0.05, "more CPU per request", Against.Nothing),
        new("telemetry_conns_cost", "share", false, null, "of new connections", Against.Nothing),
        new("telemetry_conn_cpu_cost", "share", false, null, "more CPU per new connection", Against.Nothing),
    ];

    public static IEnumerable<string> Names => All.Where(m => m.Goal is not null).Select(m => m.Name);

    public double Worst => MoreIsBetter ? 0 : double.PositiveInfinity;

    /// <summary>Of several the first with the best value.</summary>
    public T Best<T>(IEnumerable<T> several, Func<T, double> value) => MoreIsBetter ? several.MaxBy(value)! : several.MinBy(value)!;
}
