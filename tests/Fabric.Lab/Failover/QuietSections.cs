using System.Diagnostics;

using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Failover;

/// <summary>
/// No fault at all, and yet both cores busy: two processes take all that they get, while 16 links are probed from both ends and 200
/// messages a second pass. Whoever calls a link down then is wrong. Each is probed at the default interval of a link in use, because
/// with a shorter one a shorter hiccup would be a verdict.
/// </summary>
public sealed class FalseVerdicts(long probes, Progress progress)
{
    public const string Probes = "active: 50ms, idle: 50ms";

    public static IReadOnlyList<Wire> Wires => [.. Enumerable.Range(0, 16).Select(i => new Wire(20 + 0.1 * i))];

    /// <summary>Verdicts "down".</summary>
    public int Down { get; private set; }

    /// <summary>Times that a link was suspect; no verdict, and the price of being quick.</summary>
    public int Suspect { get; private set; }

    public long Sent { get; private set; }

    /// <summary>Each of both, with the gateway's reason, as lines.</summary>
    public IReadOnlyList<string> Doubts { get; private set; } = [];
    public (int Dropped, long BytesLost) Losses { get; private set; }

    public async Task Run(FailoverFabric fabric)
    {
        using var load = await fabric.OpenEcho();
        fabric.Busy(cores: Environment.ProcessorCount);
        var since = Stopwatch.GetTimestamp();
        var first = await fabric.ProbesSent();
        while (Sent < probes)
        {
            await Task.Delay(TimeSpan.FromSeconds(1), Interruption.Token);
            Sent = await fabric.ProbesSent() - first;
            progress.Now($"no fault, busy cores: {Sent:N0} of {probes:N0} probes");
            if (Stopwatch.GetElapsedTime(since) > TimeSpan.FromSeconds(60 + probes / 200))
            {
                throw new LabException($"only {Sent:N0} of {probes:N0} probes were sent in {Stopwatch.GetElapsedTime(since).TotalSeconds:0} s");
            }
        }

        var events = fabric.Events(since);
        await fabric.Rest();
        Down = events.Count(e => e.State == "down");
        Suspect = events.Count(e => e.State == "suspect");
        Doubts = [.. events.Where(e => !e.IsSwitch && e.State != "up")
            .Select(e => $"  {Stopwatch.GetElapsedTime(since, e.At).TotalMilliseconds,9:0} ms  {e.Gateway}: {e.Text}")];
        Losses = await load.Finish(TimeSpan.FromSeconds(20));
    }
}

/// <summary>The preferred link goes dark and comes back each second, both ways: half a second each.</summary>
public sealed class Flapping(TimeSpan length, Progress progress)
{
    public static IReadOnlyList<Wire> Wires => [new(20), new(24, Cost: 10)];

    /// <summary>Times that a gateway moved its streams to another link; of the gateway that did it more often.</summary>
    public int Switches { get; private set; }

    public (int Dropped, long BytesLost) Losses { get; private set; }

    public async Task Run(FailoverFabric fabric)
    {
        await fabric.UntilActive(0, TimeSpan.FromMinutes(1));
        using var load = await fabric.OpenEcho();
        var began = Stopwatch.GetTimestamp();
        for (var half = 1; Stopwatch.GetElapsedTime(began) < length; half++)
        {
            fabric.Links[0].Cut(half % 2 == 1);
            progress.Now($"flapping: {Stopwatch.GetElapsedTime(began).TotalSeconds:0} of {length.TotalSeconds:0} s");
            var wait = half * TimeSpan.FromSeconds(0.5) - Stopwatch.GetElapsedTime(began);
            await Task.Delay(wait > TimeSpan.Zero ? wait : TimeSpan.Zero, Interruption.Token);
        }

        Switches = fabric.Events(began).Where(e => e.IsSwitch).GroupBy(e => e.Gateway).Select(g => g.Count()).DefaultIfEmpty().Max();
        fabric.Links[0].Cut(false);
        Losses = await load.Finish(TimeSpan.FromSeconds(20));
    }
}
