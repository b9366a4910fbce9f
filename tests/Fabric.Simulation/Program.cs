using System.Diagnostics;
using System.Globalization;
using Fabric.Simulation;

var (seeds, first, tail, only) = (500, 1, 60, (int?)null);
for (var i = 0; i < args.Length; i++)
{
    if (args[i] is not ("--seeds" or "--first" or "--seed" or "--tail"))
    {
        return Wrong($"unknown option: {args[i]}");
    }

    if (i + 1 == args.Length || !int.TryParse(args[i + 1], CultureInfo.InvariantCulture, out var value) || value < 1)
    {
        return Wrong($"{args[i]} needs a number from 1 on");
    }

    switch (args[i++])
    {
        case "--seeds":
            seeds = value;
            break;
        case "--first":
            first = value;
            break;
        case "--seed":
            only = value;
            break;
        default:
            tail = value;
            break;
    }
}

if (only is { } seed)
{
    return Replay(seed, tail);
}

var clock = Stopwatch.StartNew();
var (done, shown) = (0, TimeSpan.Zero);
var runner = new Runner();
runner.Run(first, seeds, ended: () =>
{
    done++;
    if (!Console.IsErrorRedirected && (clock.Elapsed - shown > TimeSpan.FromMilliseconds(200) || done == seeds))
    {
        shown = clock.Elapsed;
        Console.Error.Write($"\r{done} of {seeds} seeds, {done / clock.Elapsed.TotalSeconds:0.0} a second ");
    }
});
if (!Console.IsErrorRedirected)
{
    Console.Error.WriteLine();
}

if (runner.Failures is [var failure, ..])
{
    Console.WriteLine($"FAILED: {failure.Message}");
    Console.WriteLine($"replay: scripts/simulate.sh --seed {failure.Seed}");
    return Replay(failure.Seed, tail);
}

Console.WriteLine($"{seeds} seeds from {first} on held, in {clock.Elapsed.TotalSeconds:0.0} s");
Console.WriteLine(runner.Counters);
return 0;

static int Replay(int seed, int tail)
{
    World? world = null;
    try
    {
        world = new World(seed, tail: tail);
        world.Run();
        Console.WriteLine(string.Join('\n', world.Tail));
        Console.WriteLine($"seed {seed} held: {world.Steps} steps, digest {world.Digest:x16}");
        return 0;
    }
    catch (InvariantException error)
    {
        Console.WriteLine(string.Join('\n', world?.Tail ?? []));
        Console.WriteLine($"FAILED: {error.Message}");
        return 1;
    }
}

static int Wrong(string what)
{
    Console.Error.WriteLine($"{what}; see scripts/simulate.sh --help");
    return 2;
}
