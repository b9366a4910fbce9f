using System.Text.Json;
using System.Text.Json.Nodes;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Tests.Reports;

public sealed class DrillRecordJsonTests
{
    private static readonly string Sample = DrillRecordJson.Write(SampleRecord.Build());

    [Fact]
    public void It_reads_what_it_wrote_and_writes_the_same_bytes()
    {
        var record = DrillRecordJson.Read(Sample, "report.json");
        Assert.Equal(Sample, DrillRecordJson.Write(record));
        Assert.Equal(SampleRecord.Began, record.Began);
        Assert.Equal(TimeSpan.FromSeconds(30), record.Drill.Actions[0].Duration);
        Assert.Equal(DrillOutcome.Passed, record.Outcome);
        Assert.Equal(312.4, record.PauseMs);
    }

    [Fact]
    public void The_form_is_what_others_read()
    {
        using var document = JsonDocument.Parse(Sample);
        var root = document.RootElement;
        Assert.Equal(["report", "id", "drill", "fabric", "version", "topologyRevision", "began", "ended", "outcome", "why", "verdicts", "guards", "actions",
            "probes", "events", "seconds", "clockOffsets", "detectionMs", "pauseMs", "recoveryMs"], root.EnumerateObject().Select(m => m.Name));
        Assert.Equal(1, root.GetProperty("report").GetInt32());
        Assert.Equal("2026-03-14T09:30:00.1200000Z", root.GetProperty("began").GetString());
        Assert.Equal("passed", root.GetProperty("outcome").GetString());
        Assert.Equal("5s", root.GetProperty("drill").GetProperty("actions")[0].GetProperty("start").GetString());
        Assert.Equal(JsonValueKind.Null, JsonDocument.Parse(DrillRecordJson.Write(SampleRecord.Build() with { PauseMs = null })).RootElement.GetProperty("pauseMs").ValueKind);
    }

    [Fact]
    public void What_later_programs_add_is_no_error()
    {
        var more = JsonNode.Parse(Sample)!.AsObject();
        more["colour"] = "blue";
        more["probes"]![0]!["p999Ms"] = 1;
        Assert.Equal(Sample, DrillRecordJson.Write(DrillRecordJson.Read(more.ToJsonString(), "r")));
    }

    [Theory]
    [InlineData("", "r.json:1:1: ")]
    [InlineData("null", "r.json: no \"report\"")]
    [InlineData("{\"ok\": true}", "r.json: no \"report\": this is no report of a drill")]
    [InlineData("{\"report\": 2}", "r.json: \"report\" is 2, and this program reads 1")]
    [InlineData("{\"report\": \"1\"}", "r.json: \"report\" is \"1\"")]
    [InlineData("{\n  \"report\": 1,\n  oops\n}", "r.json:3:3: ")]
    [InlineData("{\"report\": 1}", "missing required properties")]
    public void What_is_no_report_is_refused_with_its_place(string text, string error) =>
        Assert.Contains(error, Assert.Throws<DrillReportException>(() => DrillRecordJson.Read(text, "r.json")).Message);

    [Theory]
    [InlineData("\"start\": \"5s\"", "\"start\": \"5 lightyears\"", "'5 lightyears' is no span")]
    [InlineData("\"outcome\": \"passed\"", "\"outcome\": \"great\"", "$.outcome")]
    [InlineData("\"began\": \"2026-03-14T09:30:00.1200000Z\"", "\"began\": \"soon\"", "An instant is a text such as")]
    [InlineData("\"why\": \"Every budget held, and the steady state is back.\"", "\"why\": null", "null")]
    public void A_wrong_member_is_refused_with_its_line(string part, string wrong, string error)
    {
        var text = Sample.Replace(part, wrong);
        Assert.NotEqual(Sample, text);
        var line = text[..text.IndexOf(wrong, StringComparison.Ordinal)].Count(c => c == '\n') + 1;
        var message = Assert.Throws<DrillReportException>(() => DrillRecordJson.Read(text, "r.json")).Message;
        Assert.StartsWith($"r.json:{line}:", message);
        Assert.Contains(error, message);
    }

    [Fact]
    public void Fuzz_any_text_is_read_or_refused()
    {
        var random = new Random(3);
        for (var i = 0; i < 400; i++)
        {
            var text = Sample.ToCharArray();
            for (var n = random.Next(1, 6); n > 0; n--)
            {
                text[random.Next(text.Length)] = (char)random.Next(1, 128);
            }

            try
            {
                DrillRecordJson.Write(DrillRecordJson.Read(new string(text, 0, random.Next(3) == 0 ? random.Next(text.Length) : text.Length), "r"));
            }
            catch (DrillReportException)
            {
                // The only way to refuse.
            }
        }
    }
}
