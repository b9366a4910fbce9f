using System.Text.Json;

using Fabric.Lab.Measurement;

namespace Fabric.Lab.TunnelBench;

/// <summary>What the benchmark of the tunnel makes of what it measured.</summary>
public sealed class ResultsTests
{
    private static readonly Measure Rate = new("rate", "1/s", true, 1.25, "");
    private static readonly Measure Latency = new("latency", "ms", false, 0.2, "");
    private static readonly Measure Size = new("size", "KiB", false, 4, "", Against.Nothing);
    private static readonly Measure Memory = new("memory", "MiB", false, 0.8, "", Against.HaProxy);

    [Fact]
    public void Every_round_is_compared_with_the_peer_that_is_best_over_all_and_the_median_counts()
    {
        // The second round ran at half the speed; in the third nginx had a good moment.
        var results = Of(Rate, haproxy: [100, 50, 100], nginx: [80, 40, 200], ours: [130, 70, 150]);
        Assert.Equal([1.3, 1.4, 1.5], results.Ratios("fabric", Rate));
        Assert.Equal("haproxy", results.BestPeer(Rate));
        var figure = results.Verdict("fabric", Rate)!;
        Assert.Equal((1.4, true, "≥ 1.25"), (figure.Value!.Value, figure.Met, figure.GoalText));
    }

    [Fact]
    public void Where_less_is_better_the_best_peer_is_the_least_and_the_goal_is_from_above()
    {
        var results = Of(Latency, haproxy: [20], nginx: [10], ours: [3]);
        Assert.Equal([0.3], results.Ratios("fabric", Latency));
        Assert.False(results.Verdict("fabric", Latency)!.Met);
        Assert.True(Of(Latency, haproxy: [20], nginx: [15], ours: [3]).Verdict("fabric", Latency)!.Met);
    }

    [Fact]
    public void Absolute_figures_and_those_to_HAProxy_alone_ask_no_other_peer()
    {
        Assert.Equal((3.5, true), Seen(Of(Size, haproxy: [57], nginx: [1], ours: [3.5]).Verdict("fabric", Size)!));
        Assert.Equal((0.5, true), Seen(Of(Memory, haproxy: [160], nginx: [40], ours: [80]).Verdict("fabric", Memory)!));
        static (double, bool) Seen(Figure figure) => (figure.Value!.Value, figure.Met);
    }

    [Fact]
    public void A_peer_that_failed_is_left_out_and_a_round_in_which_ours_failed_is_its_worst()
    {
        Assert.Equal([1.5], Of(Rate, haproxy: [null], nginx: [80], ours: [120]).Ratios("fabric", Rate));
        Assert.Equal([2, 0], Of(Rate, haproxy: [100, 100], nginx: [80, 80], ours: [200, null]).Ratios("fabric", Rate));
        var latency = Of(Latency, haproxy: [20, 20, 20], nginx: [15, 15, 15], ours: [1, null, null]).Verdict("fabric", Latency)!;
        Assert.Null(latency.Value);
        Assert.False(latency.Met);
        Assert.Null(Of(Rate, haproxy: [null], nginx: [null], ours: [120]).Verdict("fabric", Rate)!.Value);
    }

    [Fact]
    public void What_has_no_goal_or_was_not_asked_for_has_no_verdict()
    {
        Assert.Null(new Results(["haproxy"]).Verdict("fabric", Rate));
        Assert.Null(Of(Rate, [1], [1], [1]).Verdict("fabric", Rate with { Goal = null }));
    }

    [Fact]
    public void The_figures_for_programs_have_names_goals_and_verdicts()
    {
        var figure = Of(Rate, haproxy: [100], nginx: [80], ours: [124]).Verdict("fabric", Rate)!;
        var json = JsonDocument.Parse(Figures.Json([figure])).RootElement.GetProperty("figures")[0];
        Assert.Equal("rate", json.GetProperty("name").GetString());
        Assert.Equal((1.24, 1.25), (json.GetProperty("value").GetDouble(), json.GetProperty("goal").GetDouble()));
        Assert.Equal("ratio", json.GetProperty("unit").GetString());
        Assert.False(json.GetProperty("met").GetBoolean());
    }

    [Fact]
    public void Every_measure_is_taken_by_one_load() =>
        Assert.Equal(Measure.All.Select(m => m.Name).Order(), Workload.All.SelectMany(w => w.Measures).Concat(TelemetryCost.Measures).Order());

    [Fact]
    public void Percentiles_are_latencies_that_were_seen()
    {
        var histogram = new Histogram();
        Assert.Equal(double.NaN, histogram.Percentile(99));
        for (var i = 1; i <= 1000; i++)
        {
            histogram.Add(i);
        }

        histogram.Add(1e12);
        Assert.Equal((0.001, 0.501, 0.991, 4000), (histogram.Percentile(0), histogram.Percentile(50), histogram.Percentile(99), histogram.Percentile(100)));
        Assert.Equal(1001, histogram.Count);
    }

    private static Results Of(Measure measure, double?[] haproxy, double?[] nginx, double?[] ours)
    {
        var results = new Results(["haproxy", "nginx"]);
        foreach (var (name, values) in new[] { ("haproxy", haproxy), ("nginx", nginx), ("fabric", ours) })
        {
            for (var round = 0; round < values.Length; round++)
            {
                results.Add(name, measure.Name, round, values[round]);
            }
        }

        return results;
    }
}
