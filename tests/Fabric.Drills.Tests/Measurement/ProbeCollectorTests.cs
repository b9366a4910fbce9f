using Fabric.Drills.Measurement;
using Fabric.Testing;

namespace Fabric.Drills.Tests.Measurement;

public sealed class ProbeCollectorTests
{
    private readonly ManualTime _time = new();
    private readonly ProbeCollector _collector;
    private readonly DateTimeOffset _start;

    public ProbeCollectorTests()
    {
        _start = _time.GetUtcNow();
        _collector = new ProbeCollector([Probe.Plan("live", connections: 2), Probe.Plan("http") with { Name = "web" }], _time);
    }

    private static ProbeSample Sample(DateTimeOffset began, double ms, string probe = "p", int connection = 0, string error = "", long bytes = 64) =>
        new(probe, connection, began, began.AddMilliseconds(ms), error.Length > 0 ? 0 : bytes, error, Dropped: false);

    private ProbeFigures Figures(string probe, double from = 0, double to = 3600) =>
        _collector.Figures(_start.AddSeconds(from), _start.AddSeconds(to)).Single(f => f.Probe == probe);

    private void Seen(double at, double ms = 1, string probe = "p", int connection = 0, string error = "") =>
        _collector.Seen(Sample(_start.AddSeconds(at), ms, probe, connection, error));

    [Fact]
    public void A_pause_is_between_two_arrivals_on_one_connection()
    {
        // Connection 1 is steady: what it gets does not shorten the pause of connection 0.
        for (var i = 0; i < 40; i++)
        {
            Seen(0.1 * i, connection: 1);
        }

        Seen(0);
        Seen(1);
        Seen(3.5);
        Seen(3.6);
        var figures = Figures("p", to: 3.7);
        Assert.Equal(2500, figures.LongestPauseMs, 3);
        Assert.Equal(_start.AddSeconds(1).AddMilliseconds(1), figures.PauseBegan);
    }

    [Fact]
    public void A_pause_counts_with_the_part_that_lies_between_the_instants()
    {
        Seen(0);
        Seen(10);
        Assert.Equal(3000, Figures("p", from: 2, to: 5).LongestPauseMs, 3);
        Assert.Equal(5001, Figures("p", from: 5, to: 10.5).LongestPauseMs, 3);
        // One that lasts.
        Assert.Equal(9999, Figures("p", from: 10, to: 20).LongestPauseMs, 3);
    }

    [Fact]
    public void Of_requests_the_pause_is_the_longest_time_without_a_success()
    {
        Seen(0, probe: "web");
        Seen(1, probe: "web", connection: 3);
        Seen(1.5, probe: "web", error: "status 503");
        Seen(4, probe: "web", connection: 1);
        Assert.Equal(3000, Figures("web", to: 4.001).LongestPauseMs, 3);
    }

    [Fact]
    public void An_echo_after_its_time_ends_the_pause_and_is_no_second_attempt()
    {
        Seen(0);
        Seen(0.5, ms: 5000, error: "no echo within 5 s");
        _collector.Seen(Sample(_start.AddSeconds(0.5), 6500) with { Again = true });
        var figures = Figures("p", to: 7.001);
        Assert.Equal((2, 1, 128), (figures.Attempts, figures.Failed, figures.Bytes));
        Assert.Equal(6999, figures.LongestPauseMs, 3);
    }

    [Fact]
    public void Latencies_are_within_three_percent()
    {
        for (var i = 1; i <= 1000; i++)
        {
            Seen(i * 0.001, ms: i);
        }

        var figures = Figures("p");
        Assert.InRange(figures.MedianMs, 500 * 0.97, 500 * 1.03);
        Assert.InRange(figures.P99Ms, 990 * 0.97, 990 * 1.03);
    }

    [Fact]
    public void Seconds_say_what_ended_in_them()
    {
        Seen(0.1, ms: 10);
        Seen(0.2, ms: 30);
        Seen(0.9, ms: 200, error: "no echo within 0.2 s");
        _collector.Seen(Sample(_start.AddSeconds(2), 0, error: "not sent: why") with { Unsent = true });
        var second = _collector.Seconds();
        Assert.Equal([(2, 0, 128, 30.0), (0, 1, 0, 200.0), (0, 1, 0, -1.0)],
            second.Select(s => (s.Succeeded, s.Failed, (int)s.Bytes, Math.Round(s.WorstMs ?? -1))));
    }

    [Fact]
    public void Failures_are_counted_by_reason_the_most_frequent_first_and_a_bounded_number()
    {
        Seen(0, error: "a");
        for (var i = 0; i < 20; i++)
        {
            Seen(0.01 * i, error: "b");
            Seen(0.01 * i, error: $"one of many {i}");
        }

        var failures = Figures("p").Failures!;
        Assert.Equal(new ProbeFailure("b", 20), failures[0]);
        Assert.Equal(ProbeCollector.MaxFailures, failures.Count);
        Assert.Equal(41, failures.Sum(f => f.Count));
        Assert.Contains(failures, f => f.Error == "other");
    }

    [Fact]
    public void Recent_failures_forget_what_is_long_ago()
    {
        Seen(0, error: "a");
        Seen(0);
        _time.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(50, _collector.RecentFailedPercent(TimeSpan.FromSeconds(10)));
        _time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(0, _collector.RecentFailedPercent(TimeSpan.FromSeconds(10)));
    }

    [Fact]
    public void Memory_is_bounded_by_time()
    {
        for (var hour = 0; hour < 5; hour++)
        {
            for (var i = 0; i < 3600; i += 7)
            {
                Seen(hour * 3600 + i);
            }
        }

        Assert.InRange(_collector.Seconds().Count, ProbeCollector.Kept / 2, ProbeCollector.Kept);
        // A clock that leaps, or a sample from long ago, costs nothing either.
        Seen(1e7);
        Seen(0);
        Assert.InRange(_collector.Seconds().Count, 1, ProbeCollector.Kept);
    }

    [Fact]
    public void Fuzz_any_sample_is_taken()
    {
        var random = new Random(7);
        for (var i = 0; i < 20_000; i++)
        {
            var began = _start.AddSeconds(random.NextDouble() * Math.Pow(10, random.Next(5)) - 10);
            _collector.Seen(new ProbeSample(random.Next(3) == 0 ? "web" : "p", random.Next(1000), began, began.AddMilliseconds(random.NextDouble() * 9000 - 10),
                random.Next(100), random.Next(2) == 0 ? "" : "e" + random.Next(50), random.Next(2) == 0, random.Next(9), random.Next(2) == 0,
                random.Next(2) == 0, random.Next(2) == 0));
        }

        var all = _collector.Figures(DateTimeOffset.MinValue, DateTimeOffset.MaxValue);
        Assert.All(all, f => Assert.True(f.Failed <= f.Attempts && f.MedianMs <= f.P99Ms && f.LongestPauseMs >= 0));
    }

    [Fact]
    public void Steady_time_does_not_follow_a_step_of_the_clock()
    {
        var wall = new SteppingTime();
        var steady = SteadyTime.Of(wall);
        Assert.Same(steady, SteadyTime.Of(steady));
        var first = steady.GetUtcNow();
        wall.Utc += TimeSpan.FromHours(1);
        wall.Stamp += 500;
        Assert.Equal(TimeSpan.FromMilliseconds(500), steady.GetUtcNow() - first);
        Assert.Equal(first.AddMilliseconds(-250), steady.At(wall.Stamp - 750));
    }

    private sealed class SteppingTime : TimeProvider
    {
        public DateTimeOffset Utc { get; set; } = DateTimeOffset.UnixEpoch;

        public long Stamp { get; set; } = 1000;

        public override long TimestampFrequency => 1000;

        public override DateTimeOffset GetUtcNow() => Utc;

        public override long GetTimestamp() => Stamp;
    }
}
