using System.Diagnostics;
using System.Globalization;
using Fabric.Fuzzing;

// See README.md, or scripts/fuzz.sh --help.
var (inputs, seed, only, folder, save) = (10_000_000L, Environment.TickCount, (string?)null, Corpus.Folder, false);
for (var i = 0; i < args.Length; i++)
{
    if (args[i] == "--save")
    {
        save = true;
        continue;
    }

    var value = i + 1 < args.Length ? args[i + 1] : null;
    switch (args[i++])
    {
        case "--inputs" when long.TryParse(value, CultureInfo.InvariantCulture, out inputs) && inputs > 0:
        case "--seed" when int.TryParse(value, CultureInfo.InvariantCulture, out seed):
            break;
        case "--only" when Targets.All.Any(t => t.Name == value):
            only = value;
            break;
        case "--corpus" when Directory.Exists(value):
            folder = value!;
            break;
        default:
            Console.Error.WriteLine($"wrong: {args[i - 1]} {value}; there are --inputs N, --seed S, --only {string.Join('|', Targets.All.Select(t => t.Name))}, --corpus FOLDER, --save");
            return 2;
    }
}

var targets = Targets.All.Where(t => only is null || t.Name == only).ToList();
var runs = targets.Select(t => new FuzzRun(t, Corpus.Read(folder, t.Name), seed)).ToList();
using var done = new ManualResetEventSlim();
var watch = new Thread(Watch) { IsBackground = true };
watch.Start();
var before = Memory();
Console.WriteLine($"seed {seed}; memory before: {Text(before)}");
for (var i = 0; i < runs.Count; i++)
{
    // Memory is looked at when all code has run, and the corpus has grown.
    runs[i].Run(Math.Max(1, inputs / runs.Count / 50));
}

var warm = Memory();
foreach (var (target, run) in targets.Zip(runs))
{
    var clock = Stopwatch.StartNew();
    var first = run.Done;
    run.Run(Math.Max(1, inputs / runs.Count));
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{target.Name,-14} {run.Done,11:#,0} inputs  {(run.Done - first) / clock.Elapsed.TotalSeconds,9:#,0}/s  {run.Harmful,5} did harm  {run.Kept.Count,5} ways"));
    foreach (var finding in run.Findings)
    {
        Console.WriteLine($"  {Convert.ToHexStringLower(finding.Input)}\n    {finding.Harm.ReplaceLineEndings("\n    ")}");
    }
}

done.Set();
Console.WriteLine($"memory when warm: {Text(warm)}; after: {Text(Memory())}");
if (save)
{
    foreach (var (target, run) in targets.Zip(runs))
    {
        Corpus.Write(folder, target.Name, run.Kept, [.. run.Findings.Select(f => f.Input)]);
    }
}

return runs.Any(r => r.Harmful > 0) ? 1 : 0;

static (long Held, long Resident) Memory() => (GC.GetTotalMemory(forceFullCollection: true), Environment.WorkingSet);

static string Text((long Held, long Resident) memory) =>
    string.Create(CultureInfo.InvariantCulture, $"{memory.Held / 1e6:0.0} MB held, {memory.Resident / 1e6:0.0} MB resident");

void Watch()
{
    while (!done.Wait(TimeSpan.FromSeconds(1)))
    {
        // It will not come back by itself.
        if (runs.Select(r => r.Stuck(TimeSpan.FromSeconds(60))).FirstOrDefault(s => s is not null) is { } input)
        {
            Console.WriteLine($"hangs:\n  {Convert.ToHexStringLower(input)}");
            Environment.Exit(1);
        }
    }
}
