using Fabric.Drills.Measurement;

namespace Fabric.Drills.Tests.Measurement;

public sealed class StallMeterTests
{
    [Fact]
    public void Longest_pause_splits_the_rates()
    {
        var meter = new StallMeter(At(1000));
        meter.Arrived(At(1100), 100);
        meter.Arrived(At(1200), 100);
        meter.Arrived(At(1700), 50);
        meter.Arrived(At(1800), 250);

        Assert.Equal(
            new StallSummary(500, At(800), LongestPause: At(500), PausedAfter: At(200), 1000, 3000), meter.Until(At(1800)));
    }

    [Fact]
    public void Pause_before_the_first_byte_counts()
    {
        var meter = new StallMeter(At(0));
        meter.Arrived(At(400), 10);
        meter.Arrived(At(500), 10);

        var summary = meter.Until(At(500));

        Assert.Equal((At(400), At(0), null), (summary.LongestPause, summary.PausedAfter, summary.BytesPerSecondBefore));
        Assert.Equal(200, summary.BytesPerSecondAfter);
    }

    [Fact]
    public void Pause_up_to_the_end_counts()
    {
        var meter = new StallMeter(At(0));
        meter.Arrived(At(100), 10);

        Assert.Equal(At(100), meter.Until(At(150)).LongestPause);
        var summary = meter.Until(At(1100));

        // What was asked in between does not end a pause that goes on.
        Assert.Equal((At(1000), At(100), null), (summary.LongestPause, summary.PausedAfter, summary.BytesPerSecondAfter));
    }

    [Fact]
    public void First_of_equal_pauses_counts()
    {
        var meter = new StallMeter(At(0));
        meter.Arrived(At(0), 1);
        meter.Arrived(At(100), 1);
        meter.Arrived(At(200), 1);

        Assert.Equal(At(0), meter.Until(At(200)).PausedAfter);
    }

    [Fact]
    public void Nothing_at_all_is_one_long_pause()
    {
        Assert.Equal(new StallSummary(0, At(70), At(70), At(0), null, null), new StallMeter(At(5)).Until(At(75)));
        Assert.Equal(new StallSummary(0, At(0), At(0), At(0), null, null), new StallMeter(At(5)).Until(At(5)));
    }

    [Fact]
    public void Time_going_back_and_no_bytes_are_refused()
    {
        var meter = new StallMeter(At(5));
        Assert.Throws<ArgumentOutOfRangeException>(() => meter.Arrived(At(4), 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => meter.Arrived(At(6), 0));
    }

    [Fact]
    public void Longest_pause_is_the_largest_gap_of_any_arrivals()
    {
        var random = new Random(5);
        for (var round = 0; round < 300; round++)
        {
            var instants = Enumerable.Range(0, random.Next(2, 40)).Select(_ => random.Next(1000)).Order().ToArray();
            var meter = new StallMeter(At(instants[0]));
            foreach (var instant in instants[1..^1])
            {
                meter.Arrived(At(instant), 3);
            }

            var summary = meter.Until(At(instants[^1]));
            Assert.Equal(At(instants.Zip(instants.Skip(1), (a, b) => b - a).Max()), summary.LongestPause);
            Assert.Equal(3 * (instants.Length - 2), summary.TotalBytes);
        }
    }

    private static TimeSpan At(int milliseconds) => TimeSpan.FromMilliseconds(milliseconds);
}
