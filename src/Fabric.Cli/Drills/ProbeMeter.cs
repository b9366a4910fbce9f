using Fabric.Drills.Definition;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;
using Fabric.Drills.Running;

namespace Fabric.Cli.Drills;

/// <summary>The loads of a drill, as the runner wants them.</summary>
internal sealed class ProbeMeter : IProbeMeter
{
    private readonly ProbeCollector _collector;
    private readonly IProbeLoad[] _loads;

    public ProbeMeter(IReadOnlyList<(ProbePlan Plan, ProbeTarget Target)> probes, TimeProvider time)
    {
        _collector = new ProbeCollector(probes.Select(p => p.Plan), time);
        _loads = [.. probes.Select(p => ProbeLoads.Create(p.Plan, p.Target.Service, p.Target.Dns, p.Target.Name, time))];
    }

    public Task RunAsync(CancellationToken cancellationToken) => _collector.RunAsync(_loads, cancellationToken);

    public IReadOnlyList<ProbeFigures> Figures(DateTimeOffset from, DateTimeOffset to) => _collector.Figures(from, to);

    public IReadOnlyList<ProbeSecond> Seconds() => _collector.Seconds();

    public double RecentFailedPercent(TimeSpan window) => _collector.RecentFailedPercent(window);

    public TimeSpan LivePause() => _collector.LivePause();
}
