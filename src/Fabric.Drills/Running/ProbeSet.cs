using System.Net;
using Fabric.Drills.Definition;
using Fabric.Drills.Guards;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Running;

/// <summary>Where a probe load is sent.</summary>
/// <param name="Dns">The gateway's name server.</param>
/// <param name="Name">The service's name in DNS.</param>
public sealed record ProbeTarget(IPEndPoint Service, IPEndPoint Dns, string Name)
{
    /// <summary>Null, with why, when the gateway tells no address for the service.</summary>
    public static ProbeTarget? Of(ProbePlan plan, FabricView view, out string why)
    {
        why = "";
        var status = view.Status.Services.FirstOrDefault(s => s.Name == plan.Service);
        var dns = view.Topology.FindGateway(view.Status.Gateway)?.Dns ?? new IPEndPoint(IPAddress.Loopback, 53);
        var name = status is { Host.Length: > 0 } ? status.Host : $"{plan.Service}.{view.Topology.Domain}";
        if (plan.Address.Length > 0)
        {
            return new ProbeTarget(IPEndPoint.Parse(plan.Address), dns, name);
        }

        var port = plan.Port > 0 ? plan.Port : view.Topology.Services.FirstOrDefault(s => s.FullName == plan.Service)?.Ports[0].Port ?? 0;
        if (!IPAddress.TryParse(status?.ServiceAddress ?? "", out var address) || port is < 1 or > 65_535)
        {
            why = $"probe {plan.Name}: {view.Status.Gateway} tells no address of {plan.Service}";
            return null;
        }

        return new ProbeTarget(new IPEndPoint(address, port), dns, name);
    }
}

/// <summary>All loads of a drill, and what collects what they say.</summary>
public interface IProbeMeter
{
    /// <summary>Until cancelled. Throws when a load cannot go on.</summary>
    Task RunAsync(CancellationToken cancellationToken);

    IReadOnlyList<ProbeFigures> Figures(DateTimeOffset from, DateTimeOffset to);

    IReadOnlyList<ProbeSecond> Seconds();

    /// <summary>Of all probes; 0 when nothing ended in that time.</summary>
    double RecentFailedPercent(TimeSpan window);

    /// <summary>For how long some live connection, or hashed stream, has got nothing by now.</summary>
    TimeSpan LivePause();
}

/// <summary>Makes the meter of a drill; nothing is sent before it runs.</summary>
public delegate IProbeMeter ProbeMeterFactory(IReadOnlyList<(ProbePlan Plan, ProbeTarget Target)> probes);

/// <summary>The loads of one run, from their start until they are disposed.</summary>
internal sealed class ProbeSet : IAsyncDisposable
{
    public static readonly TimeSpan Recent = TimeSpan.FromSeconds(10);

    private readonly CancellationTokenSource _end = new();
    private readonly IProbeMeter _meter;
    private readonly Task _run;

    public ProbeSet(IReadOnlyList<(ProbePlan Plan, ProbeTarget Target)> probes, ProbeMeterFactory factory)
    {
        _meter = factory(probes);
        _run = probes.Count == 0 ? Task.CompletedTask : Task.Run(() => _meter.RunAsync(_end.Token));
    }

    public IProbeMeter Meter => _meter;

    /// <summary>What a load threw that ended before it should; null while all run.</summary>
    public string? Broken => _run.IsFaulted ? _run.Exception.GetBaseException().Message : null;

    public IReadOnlyList<ProbeNow> Now(DateTimeOffset now) =>
        [.. _meter.Figures(now - Recent, now).Select(f => new ProbeNow(f.Probe, f.Kind, f.Attempts, f.Attempts == 0 ? 0 : 100.0 * f.Failed / f.Attempts))];

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        try
        {
            await _run;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // Its end, or told by Broken before.
        }

        _end.Dispose();
    }
}
