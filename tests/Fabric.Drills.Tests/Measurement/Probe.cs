using System.Net;
using Fabric.Drills.Definition;
using Fabric.Drills.Measurement;

namespace Fabric.Drills.Tests.Measurement;

/// <summary>One load that runs, and its figures.</summary>
internal sealed class Probe : IAsyncDisposable
{
    private readonly CancellationTokenSource _ended = new();
    private readonly SteadyTime _time = SteadyTime.Of(TimeProvider.System);
    private readonly DateTimeOffset _began;
    private readonly Task _running;

    public Probe(ProbePlan plan, IPEndPoint target, IPEndPoint? dnsServer = null, string dnsName = "web.shop.svc.clusterset.local", OpenSocket? open = null)
    {
        _began = _time.GetUtcNow();
        Collector = new ProbeCollector([plan], _time);
        _running = Collector.RunAsync([ProbeLoads.Create(plan, target, dnsServer, dnsName, _time, open)], _ended.Token);
    }

    public ProbeCollector Collector { get; }

    public ProbeFigures Now => Collector.Figures(_began, _time.GetUtcNow())[0];

    public static ProbePlan Plan(string kind, int perSecond = 50, int connections = 2, long bytes = 1 << 20, double timeoutSeconds = 5, string path = "/") =>
        new("p", kind, "web.shop", 80, perSecond, connections, bytes, "", path, TimeSpan.FromSeconds(timeoutSeconds));

    /// <summary>Ends the load; what was on its way has come by then.</summary>
    public async Task<ProbeFigures> Finish()
    {
        await _ended.CancelAsync();
        await _running.WaitAsync(TimeSpan.FromSeconds(30));
        return Now;
    }

    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync();
        await _running.WaitAsync(TimeSpan.FromSeconds(30));
        _ended.Dispose();
    }
}
