using System.Net;

using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>
/// All contestants at once on one machine, and one load after the other on each in turn: what is compared was measured within seconds.
/// Whoever waits for its turn sleeps.
/// </summary>
public sealed class TunnelRun(Sizes sizes, int rounds, string[] drivers) : IAsyncDisposable
{
    /// <summary>Memory does not depend on what else the machine does: fewer rounds are enough.</summary>
    private const int FreshRounds = 3;

    private static readonly IPEndPoint Server = new(IPAddress.Parse("127.99.0.1"), 7000);

    private readonly Progress _progress = new();
    private readonly List<Contestant> _contestants = [];
    private WorkFolder? _work;
    private LoadServer? _server;
    private TelemetryCost? _telemetry;

    public IReadOnlyList<string> Columns => [.. _contestants.Select(c => c.Name).Concat(_telemetry is null ? [] : [Telemetry]).Distinct()];

    /// <summary>The last one is the one that has the verdicts.</summary>
    public IReadOnlyList<string> Fabrics => _contestants.Count == 0 ? [Telemetry] : [.. _contestants.OfType<FabricPair>().Select(c => c.Name)];

    /// <summary>The column of what telemetry costs.</summary>
    private string Telemetry => drivers[^1] == "auto" ? "fabric" : $"fabric {drivers[^1]}";

    /// <summary>Why something could not be measured.</summary>
    public List<string> Failures { get; } = [];

    public Results Results { get; private set; } = new([]);

    public async Task Measure(IReadOnlyCollection<string> wanted)
    {
        var workloads = Workload.All.Where(w => w.Measures.Any(wanted.Contains)).ToArray();
        await StartAll(workloads.Length > 0, TelemetryCost.Measures.Any(wanted.Contains));
        foreach (var contestant in _contestants)
        {
            _progress.Now($"{contestant.Name} warms up");
            await Workload.Warm(contestant, sizes);
        }

        for (var round = 0; round < rounds; round++)
        {
            foreach (var workload in workloads.Where(w => !w.Fresh || round < FreshRounds).OrderBy(w => w.Fresh))
            {
                // Nobody always follows the same one.
                for (var i = 0; i < _contestants.Count; i++)
                {
                    var contestant = _contestants[(i + round) % _contestants.Count];
                    _progress.Now($"round {round + 1} of {rounds}: {workload.Measures[0]}, {contestant.Name}");
                    await Run(workload, contestant, round);
                }
            }

            await RunTelemetry(round);
        }

        _progress.Now("");
    }

    public async ValueTask DisposeAsync()
    {
        // Each on its own: what fails to stop must not keep the rest.
        var failures = new List<Exception>();
        foreach (var stop in _contestants.Select<Contestant, Func<Task>>(c => async () => await c.DisposeAsync())
            .Append(async () => await (_telemetry?.DisposeAsync() ?? ValueTask.CompletedTask)).Append(() => Task.Run(() => _server?.Dispose())).Append(async () => await (_work?.DisposeAsync() ?? ValueTask.CompletedTask)))
        {
            try
            {
                await stop();
            }
            catch (Exception e)
            {
                failures.Add(e);
            }
        }

        if (failures.Count > 0)
        {
            throw new AggregateException("the benchmark could not remove all of itself", failures);
        }
    }

    private async Task StartAll(bool contestants, bool telemetry)
    {
        _work = await WorkFolder.Take();
        _server = new LoadServer(Server);
        if (telemetry)
        {
            _progress.Now("the pairs with and without telemetry start");
            _telemetry = new TelemetryCost(_work, drivers[^1], Server);
            await _telemetry.Start(sizes);
        }

        if (!contestants)
        {
            return;
        }

        var certificates = new PeerCertificates(_work);
        Peer[] peers = [Peer.HaProxy(_work, certificates, Ends(1)), Peer.Nginx(_work, certificates, Ends(2)), Peer.Stunnel(_work, certificates, Ends(3))];
        Results = new Results([.. peers.Select(p => p.Name)]);
        _contestants.AddRange([new Direct(Server), .. peers, .. drivers.Select((d, i) => new FabricPair(_work, d, i, Server))]);
        foreach (var contestant in _contestants)
        {
            _progress.Now($"{contestant.Name} starts");
            await contestant.Start();
        }

        static Ends Ends(int number) => new(new(IPAddress.Parse($"127.98.{number}.1"), 7000), new(IPAddress.Parse($"127.98.{number}.2"), 7000), Server);
    }

    private async Task RunTelemetry(int round)
    {
        if (_telemetry is null)
        {
            return;
        }

        _progress.Now($"round {round + 1} of {rounds}: telemetry");
        var values = new double?[TelemetryCost.Measures.Length];
        try
        {
            values = await _telemetry.Measure(sizes);
        }
        catch (LabException e)
        {
            Failures.Add($"telemetry, round {round + 1}: {e.Message}\n{_telemetry.Tail()}");
        }

        foreach (var (measure, value) in TelemetryCost.Measures.Zip(values))
        {
            Results.Add(Telemetry, measure, round, value);
        }
    }

    private async Task Run(Workload workload, Contestant contestant, int round)
    {
        if (workload.Fresh && contestant is Direct)
        {
            return;
        }

        var values = new double?[workload.Measures.Length];
        try
        {
            if (workload.Fresh)
            {
                await contestant.Restart();
            }

            values = [.. (await workload.Run(contestant, sizes)).Cast<double?>()];
        }
        catch (LabException e)
        {
            Failures.Add($"{contestant.Name}, {workload.Measures[0]}, round {round + 1}: {e.Message}\n{contestant.Tail()}");
        }

        foreach (var (measure, value) in workload.Measures.Zip(values))
        {
            Results.Add(contestant.Name, measure, round, value);
        }

        // What was on its way when the load ended is gone before the next begins.
        await Task.Delay(TimeSpan.FromMilliseconds(200), Interruption.Token);
    }
}
