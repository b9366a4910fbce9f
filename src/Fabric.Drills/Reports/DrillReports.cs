using System.Text;
using Fabric.Drills.Reports.Page;

namespace Fabric.Drills.Reports;

/// <summary>Where the three reports of a run are.</summary>
/// <param name="Json">Canonical: <see cref="DrillRecordJson"/> reads it.</param>
/// <param name="JUnit">For CI systems.</param>
/// <param name="Html">One page that loads nothing from elsewhere.</param>
public sealed record DrillReportFiles(string Json, string JUnit, string Html);

/// <summary>Writes what a run showed.</summary>
public static class DrillReports
{
    public const string JsonName = "report.json";
    public const string JUnitName = "junit.xml";
    public const string HtmlName = "report.html";

    /// <summary>
    /// Writes all three into <paramref name="directory"/>, which is made where it is missing. Each appears whole or not at all: a reader never
    /// sees half of one. Throws <see cref="IOException"/> when the disk does not take them.
    /// </summary>
    /// <param name="previous">The run of the same drill before, if there is one: shown beside this one.</param>
    public static async Task<DrillReportFiles> WriteAsync(DrillRecord record, DrillRecord? previous, string directory)
    {
        Directory.CreateDirectory(directory);
        return new DrillReportFiles(
            await WriteAsync(directory, JsonName, DrillRecordJson.Write(record)),
            await WriteAsync(directory, JUnitName, JUnitReport.Write(record)),
            await WriteAsync(directory, HtmlName, DrillPage.Write(record, previous)));
    }

    private static async Task<string> WriteAsync(string directory, string name, string text)
    {
        var path = Path.Combine(directory, name);
        var half = Path.Combine(directory, $".{name}.new");
        await File.WriteAllTextAsync(half, text, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
        File.Move(half, path, overwrite: true);
        return path;
    }
}
