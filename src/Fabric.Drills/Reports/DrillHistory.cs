namespace Fabric.Drills.Reports;

/// <summary>
/// The records of runs, one file each in a folder for each drill: at most <see cref="Kept"/> of a drill, the oldest go first. At most
/// <see cref="MaxDrills"/> drills are read.
/// </summary>
public sealed class DrillHistory(string folder)
{
    public const int Kept = 100;
    public const int MaxDrills = 1_000;

    /// <summary>Throws <see cref="IOException"/>. Ids end in the instant of their run, so that their order is that of time.</summary>
    public void Add(DrillRecord record)
    {
        var of = Path.Combine(folder, record.Drill.Name);
        Directory.CreateDirectory(of);
        var path = Path.Combine(of, record.Id + ".json");
        File.WriteAllText(path + ".new", DrillRecordJson.Write(record));
        File.Move(path + ".new", path, overwrite: true);
        foreach (var old in Files(of).SkipLast(Kept))
        {
            File.Delete(old);
        }
    }

    /// <summary>The last run of a drill that was not refused; null when there is none that can be read.</summary>
    public DrillRecord? Last(string drill) => Runs(Path.Combine(folder, drill)).FirstOrDefault(r => r.Outcome != DrillOutcome.Refused);

    /// <summary>All runs, of each drill the newest first. What cannot be read is left out.</summary>
    public IEnumerable<DrillRecord> All() => !Directory.Exists(folder) ? []
        : Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal).Take(MaxDrills).SelectMany(Runs);

    private static IEnumerable<DrillRecord> Runs(string of)
    {
        foreach (var path in Files(of).Reverse())
        {
            DrillRecord? record = null;
            try
            {
                record = DrillRecordJson.Read(File.ReadAllText(path), path);
            }
            catch (Exception e) when (e is DrillReportException or IOException)
            {
                // Of another version, or half gone: it proves nothing.
            }

            if (record is not null)
            {
                yield return record;
            }
        }
    }

    private static string[] Files(string of) => !Directory.Exists(of) ? [] : [.. Directory.EnumerateFiles(of, "*.json").Order(StringComparer.Ordinal)];
}
