using Fabric.Gateway.Faults;
using Fabric.Gateway.Probing;
using Fabric.Tunnel;

namespace Fabric.Gateway.Hosting;

/// <summary>Faults of drills, and what is said of what happens here.</summary>
internal sealed partial class GatewayProcess
{
    private const string LeasesFolder = "faults";

    private readonly FaultSeam _seam;
    private readonly LeaseFolder _leases;
    private readonly KernelMeans _kernel;
    private readonly LeftFaults _left;
    private GatewayEvents _events = null!;
    private FaultKeeper? _keeper;
    private FaultsService _faultsService = null!;

    /// <summary>What an earlier process left in force, before anything else.</summary>
    private async Task RevertLeftAsync(Action<TimeSpan> staysDead, CancellationToken cancellationToken)
    {
        if (Directory.Exists(_state.Of(LeasesFolder)))
        {
            await _left.RevertAsync(staysDead, cancellationToken);
            await _kernel.SweepAsync();
        }
    }

    private void OpenFaults(string gateway, ITunnel tunnel)
    {
        var seam = new SeamMeans(_seam, _faults, () => _loop.Current, _time);
        Own(_left).Start(_events);
        _keeper = _options.AllowFaults ? Own(new FaultKeeper(gateway, _leases, [_kernel, seam], _events, _time, _log) { Left = _left }) : null;
        _faultsService = new FaultsService(gateway, _keeper, _events, MayDrill,
            target => tunnel.Status.Sessions.Any(s => s.Peer == target) ? OverSession(target) : null, _time);
        Identity.CountsAsExpired = () => _seam.CertificateExpired;
        var expired = false;
        _seam.Changed += () =>
        {
            if (expired && !_seam.CertificateExpired)
            {
                Identity.AskRenewal();
            }

            expired = _seam.CertificateExpired;
            Signal();
        };
    }

    private bool MayDrill(string peer) => _loop.Current?.Topology is { } topology && topology.FindGateway(peer) is { } gateway
        && topology.Drills.Allows(gateway.Site, gateway.Name);

    private IEnumerable<string> FaultProblems()
    {
        var problems = (_keeper?.Problems ?? []).Concat(_left.Problems);
        return _seam.SourceGoneSince is { } since
            ? problems.Append($"the topology source cannot be read since {since:u}: revision {_topology.Revision} is as old as that, and goes on") : problems;
    }

    private void FeedEvents(ITunnel tunnel, Prober prober)
    {
        var feed = new EventFeed(_events);
        tunnel.SessionChanged += peer => feed.Session(peer, tunnel.Status);
        prober.Changed += feed.Link;
        _renewal.Renewed = source => _events.Add(new Protocol.Proto.GatewayEvent { Kind = "certificate-renewed", Text = source });
    }
}
