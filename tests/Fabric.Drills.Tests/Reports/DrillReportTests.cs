using System.Text.Json;
using Fabric.Drills.Reports;
using Fabric.Testing;

namespace Fabric.Drills.Tests.Reports;

public sealed class DrillReportTests
{
    private static readonly DrillBudget Budget = new(TimeSpan.FromSeconds(1));
    private static readonly FailoverCost Good = new(180.5, 240, 0, 0);

    [Fact]
    public void Json_has_the_shape_that_others_read()
    {
        var report = DrillReport.Of(
            DrillMode.Namespaces, [new DrillStep("links up", true, 812.4, "dx and vpn → \"up\"")], Good, budget: null);

        const string expected = """
            {"ok": true, "mode": "namespaces",
             "steps": [{"name": "links up", "ok": true, "milliseconds": 812.4, "details": "dx and vpn → \"up\""}],
             "failover": {"detectedMs": 180.5, "stallMs": 240, "bytesLost": 0, "connectionsDropped": 0}}
            """;
        Assert.Equal(
            JsonSerializer.Serialize(JsonDocument.Parse(expected)),
            JsonSerializer.Serialize(JsonDocument.Parse(report.ToJson())));
        Assert.Contains("→", report.ToJson(), StringComparison.Ordinal);
    }

    [Fact]
    public void Json_is_read_back()
    {
        var report = DrillReport.Of(DrillMode.Loopback, [new DrillStep("a", false, 1, "b")], null, null);

        var read = DrillReport.FromJson(report.ToJson());

        Assert.Equal(report.ToJson(), read.ToJson());
        Assert.Equal((false, DrillMode.Loopback, null), (read.Ok, read.Mode, read.Failover));
        Assert.Throws<JsonException>(() => DrillReport.FromJson("null"));
        Assert.Throws<JsonException>(() => DrillReport.FromJson("{\"mode\": \"moon\"}"));
    }

    [Fact]
    public void Kept_budget_is_a_step_that_went_well()
    {
        var report = DrillReport.Of(DrillMode.Loopback, [new DrillStep("a", true, 1, "")], Good, Budget);

        Assert.True(report.Ok);
        Assert.Equal(
            new DrillStep("budget", true, 0, "stall 240 ms of 1000 ms, 0 bytes lost, 0 connections dropped"), report.Steps[^1]);
    }

    [Theory]
    [InlineData(1000.1, 0, 0, "stalled 1000.1 ms: the budget is 1000 ms")]
    [InlineData(double.NaN, 0, 0, "stalled NaN ms: the budget is 1000 ms")]
    [InlineData(5, 7, 0, "lost 7 bytes: the budget is 0")]
    [InlineData(5, 0, 2, "dropped 2 connections: the budget is 0")]
    [InlineData(5, 7, 2, "lost 7 bytes: the budget is 0; dropped 2 connections: the budget is 0")]
    public void Budget_that_was_broken_says_by_what(double stall, long lost, int dropped, string details)
    {
        var report = DrillReport.Of(DrillMode.Loopback, [new DrillStep("a", true, 1, "")], new(1, stall, lost, dropped), Budget);

        Assert.False(report.Ok);
        Assert.Equal(details, report.Steps[^1].Details);
        Assert.Equal(report.ToJson(), DrillReport.FromJson(report.ToJson()).ToJson());
    }

    [Fact]
    public void What_was_not_measured_or_not_done_is_not_ok()
    {
        Assert.False(DrillReport.Of(DrillMode.Loopback, [new DrillStep("a", true, 1, "")], null, Budget).Ok);
        Assert.False(DrillReport.Of(DrillMode.Loopback, [new DrillStep("a", false, 1, "")], Good, Budget).Ok);
        Assert.False(DrillReport.Of(DrillMode.Loopback, [], Good, null).Ok);
    }

    [Fact]
    public async Task Steps_are_timed_and_stop_at_the_first_that_fails()
    {
        var time = new ManualTime();
        var steps = new StepRecorder(time);
        await steps.RunAsync("one", () =>
        {
            time.Advance(TimeSpan.FromMilliseconds(12.34));
            return Task.FromResult("found");
        });

        await Assert.ThrowsAsync<InvalidDataException>(
            () => steps.RunAsync("two", () => throw new InvalidDataException("wrong hash")));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => steps.RunAsync("three", () => Task.FromCanceled<string>(new CancellationToken(true))));

        Assert.Equal<DrillStep[]>(
            [
                new DrillStep("one", true, 12.3, "found"),
                new DrillStep("two", false, 0, "wrong hash"),
                new DrillStep("three", false, 0, "cancelled"),
            ],
            steps.Steps.ToArray());
    }
}
