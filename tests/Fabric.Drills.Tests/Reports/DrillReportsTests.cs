using Fabric.Drills.Reports;

namespace Fabric.Drills.Tests.Reports;

public sealed class DrillReportsTests : IDisposable
{
    private readonly string _folder = Path.Combine(Path.GetTempPath(), $"fabric-report-{Guid.NewGuid():N}");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task All_three_are_written_whole_and_again_over_themselves()
    {
        var into = Path.Combine(_folder, "runs", "one");
        await DrillReports.WriteAsync(SampleRecord.Build(seed: 2), null, into);
        var files = await DrillReports.WriteAsync(SampleRecord.Build(), SampleRecord.Build(seed: 2), into);
        Assert.Equal(["junit.xml", "report.html", "report.json"], Directory.GetFiles(into).Select(Path.GetFileName).Order());
        Assert.Equal(DrillRecordJson.Write(SampleRecord.Build()), await File.ReadAllTextAsync(files.Json));
        Assert.EndsWith("</html>\n", await File.ReadAllTextAsync(files.Html));
        Assert.EndsWith("</testsuites>\n", await File.ReadAllTextAsync(files.JUnit));
    }
}
