using System.Text.RegularExpressions;
using Fabric.Drills.Definition;
using Fabric.Drills.Reports;
using Fabric.Drills.Reports.Page;

namespace Fabric.Drills.Tests.Reports.Page;

public sealed partial class DrillPageTests
{
    [Fact]
    public void It_shows_the_run()
    {
        var page = DrillPage.Write(SampleRecord.Build(), SampleRecord.Build(seed: 2, pauseMs: 410));
        Assert.All(["<h1>cut-dx", "passed", "312 ms", "link-blackhole dx → virginia-1 at paris-1", "id=\"longest-pause\"", "id=\"detection\"", "id=\"previous-pause\"",
            "−97.6 ms", "−1,205 ms", "± 10.4 ms", "web.shop and orders.shop keep vpn"], text => Assert.Contains(text, page));
        Assert.True(page.Length < 400_000, $"{page.Length} characters");
    }

    [Fact]
    public void Nothing_of_a_file_becomes_markup()
    {
        var page = DrillPage.Write(Hostile.Build(), Hostile.Build());
        Assert.Equal(1, Count(page, "<script"));
        Assert.Equal(0, Count(page, "<img"));
        Assert.DoesNotContain('\u202e', page);
        Assert.DoesNotContain('\a', page);
        // Each attribute's quotes close where the page says so: what is inside has none.
        Assert.DoesNotContain(Tag().Matches(page), t => t.Value.Contains("onerror=alert", StringComparison.Ordinal) && !t.Value.Contains("&gt;", StringComparison.Ordinal));
        Assert.Equal(Tags(DrillPage.Write(SampleRecord.Build(), SampleRecord.Build())), Tags(page));

        static int Count(string text, string part) => text.Split(part).Length - 1;
    }

    [Fact]
    public void It_loads_nothing_by_its_own_policy_and_its_content()
    {
        var page = DrillPage.Write(SampleRecord.Build(), null);
        Assert.Matches("content=\"default-src &#39;none&#39;; style-src &#39;sha256-[^ ]+&#39;; script-src &#39;sha256-", page);
        Assert.DoesNotMatch(@"\b(src|href)\s*=|url\(|@import|style=""", page);
    }

    [Fact]
    public void A_run_without_anything_is_a_page_too()
    {
        var empty = SampleRecord.Build() with
        {
            Actions = [],
            Guards = [],
            Probes = [],
            Seconds = [],
            Events = [],
            Verdicts = [],
            ClockOffsets = [],
            DetectionMs = null,
            PauseMs = null,
            RecoveryMs = null,
            Outcome = DrillOutcome.Refused,
            Why = "guard sites: 2 sites have a target, at most 1",
            Ended = SampleRecord.Began,
        };
        var page = DrillPage.Write(empty, null);
        Assert.Contains("2 sites have a target, at most 1", page);
        Assert.Contains("No fault was applied.", page);
        Assert.DoesNotContain("id=\"longest-pause\"", page);
    }

    [Fact]
    public void An_hour_with_a_flood_of_events_stays_a_page_that_opens()
    {
        var record = SampleRecord.Build();
        var ended = record.Began.AddHours(1);
        var events = Enumerable.Range(0, 10_000).Select(i => record.Events[1] with { At = record.Began.AddMilliseconds(360 * i), Kind = i % 2 == 0 ? "path-moved" : "stream-moved" });
        var seconds = Enumerable.Range(0, 3600).SelectMany(s => record.Seconds.Take(5).Select(p => p with { At = record.Began.AddSeconds(s) }));
        var page = DrillPage.Write(record with { Ended = ended, Events = [.. events], Seconds = [.. seconds] }, null);
        Assert.True(page.Length < 1_500_000, $"{page.Length} characters");
    }

    [Fact]
    public void What_may_still_be_in_force_stands_out()
    {
        var page = DrillPage.Write(SampleRecord.Build(fails: true) with { Outcome = DrillOutcome.NotReverted, Why = "slow-vpn" }, null);
        Assert.Contains("class=\"outcome bad\">not reverted", page);
        Assert.Contains("class=\"fault open\"", page);
        Assert.Contains("12 × connection reset · 5 × connected, and no answer within 5 s", page);
    }

    [Fact]
    public void Fuzz_any_record_is_drawn()
    {
        var random = new Random(5);
        double Number() => random.Next(6) switch { 0 => 0, 1 => double.NaN, 2 => double.PositiveInfinity, 3 => -random.NextDouble() * 1e9, _ => random.NextDouble() * Math.Pow(10, random.Next(-3, 9)) };
        DateTimeOffset Instant() => SampleRecord.Began.AddSeconds((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(0, 7)));
        for (var i = 0; i < 200; i++)
        {
            var record = SampleRecord.Build(i);
            DrillPage.Write(record with
            {
                Ended = Instant(),
                DetectionMs = random.Next(2) == 0 ? null : Math.Clamp(random.NextDouble() * 1e6 - 10, -1e9, 1e9),
                PauseMs = Number(),
                RecoveryMs = Number(),
                Actions = [.. record.Actions.Select(a => a with { Applied = random.Next(3) == 0 ? null : Instant(), Reverted = random.Next(3) == 0 ? null : Instant() })],
                Events = [.. record.Events.Select(e => e with { At = Instant(), DetectionMs = Number(), PauseMs = Number() })],
                Seconds = [.. record.Seconds.Select(s => s with { At = Instant(), WorstMs = Number() })],
                Probes = [.. record.Probes.Select(p => p with { LongestPauseMs = Number(), MedianMs = Number(), PauseBegan = random.Next(3) == 0 ? null : Instant() })],
            }, random.Next(2) == 0 ? null : record);
        }
    }

    private static IEnumerable<string> Tags(string page) => Tag().Matches(page).Select(t => t.Value.Split(' ', '>')[0]).GroupBy(t => t).Select(g => g.Key).Order();

    [GeneratedRegex("<[a-z/][^>]*>")]
    private static partial Regex Tag();
}
