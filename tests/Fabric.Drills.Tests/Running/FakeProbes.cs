using Fabric.Drills.Definition;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;
using Fabric.Drills.Running;

namespace Fabric.Drills.Tests.Running;

/// <summary>Loads whose figures are written down.</summary>
internal sealed class FakeProbes(IReadOnlyList<(ProbePlan Plan, ProbeTarget Target)> probes) : IProbeMeter
{
    public Func<ProbePlan, ProbeFigures> Says { get; set; } = Well;
    public Func<double> Recent { get; set; } = () => 0;
    public Func<TimeSpan> Pause { get; set; } = () => TimeSpan.Zero;
    public Func<CancellationToken, Task> Runs { get; set; } = async ct => await Task.Delay(Timeout.Infinite, ct);

    public static ProbeFigures Well(ProbePlan plan) => new(plan.Name, plan.Kind, plan.Service, 100, 0, 0, 12, null, 1, 2, 1000, 0, 0);

    public Task RunAsync(CancellationToken cancellationToken) => Runs(cancellationToken);

    public IReadOnlyList<ProbeFigures> Figures(DateTimeOffset from, DateTimeOffset to) => [.. probes.Select(p => Says(p.Plan))];

    public IReadOnlyList<ProbeSecond> Seconds() => [.. probes.Select(p => new ProbeSecond(DateTimeOffset.UnixEpoch, p.Plan.Name, 1, 0, 1, 1))];

    public double RecentFailedPercent(TimeSpan window) => Recent();

    public TimeSpan LivePause() => Pause();
}
