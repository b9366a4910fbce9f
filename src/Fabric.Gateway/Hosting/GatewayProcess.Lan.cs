using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Lan;
using Fabric.Gateway.Telemetry;
using Fabric.Protocol.Proto;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Hosting;

/// <summary>What the gateway tells and finds on its local networks.</summary>
internal sealed partial class GatewayProcess
{
    private const string FabricType = "_fabric._tcp";

    /// <summary>Strangers decide how often something is found, and each time the plan is made anew: at most once in this time.</summary>
    private static readonly TimeSpan _lanGap = TimeSpan.FromSeconds(1);

    private ImmutableSortedDictionary<string, ImmutableArray<ServiceEndpoint>> _lanEndpoints = ImmutableSortedDictionary<string, ImmutableArray<ServiceEndpoint>>.Empty;
    private LanDiscovery _lan = null!;
    private ITimer _lanTimer = null!;
    private int _lanWaits;
    private long _lanFollowed;

    private void OpenLan()
    {
        // The timer is there as long as anything may be found.
        _lanTimer = Own(_time.CreateTimer(_ => LanFound(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan));
        _lan = Own(new LanDiscovery(_time, new Random(Environment.ProcessId), () =>
        {
            if (Interlocked.Exchange(ref _lanWaits, 1) == 0)
            {
                var wait = _lanGap - _time.GetElapsedTime(Interlocked.Read(ref _lanFollowed));
                _lanTimer.Change(wait > TimeSpan.Zero ? wait : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
            }
        }));
    }

    /// <summary>Interfaces and types as a topology has them; and that topology with what is found.</summary>
    private FabricTopology FollowLan(FabricTopology topology)
    {
        var self = topology.FindGateway(Identity.Id.Gateway)!;
        var identity = self.Lan is { Announce: true } ? new LanIdentity(self.Name, self.Site, topology.TrustDomain, self.Port) : null;
        var wishes = self.Lan is null ? new LanWishes(null, []) : new LanWishes(identity, [FabricType, .. LanEndpoints.Types(topology, self.Site).Remove(FabricType)]);
        // What it finds comes back by the timer.
        _lan.Follow(self.Lan?.Interfaces ?? [], wishes);
        _lanEndpoints = LanEndpoints.Of(topology, self.Site, _lan.Found);
        return topology.With(self.Site, _lanEndpoints);
    }

    private void LanFound()
    {
        Interlocked.Exchange(ref _lanWaits, 0);
        Interlocked.Exchange(ref _lanFollowed, _time.GetTimestamp());
        lock (_reloadLock)
        {
            if (!LanEndpoints.Same(_lanEndpoints, LanEndpoints.Of(_topology, Identity.Id.Site, _lan.Found)))
            {
                Follow(_topology);
            }
        }
    }

    private IEnumerable<string> LanProblems() => _lan.States.Where(s => s.Problem.Length > 0).Select(s => $"lan {s.Name}: {s.Problem}");

    private IEnumerable<LanStatus> LanStatus()
    {
        var now = _loop.Current?.Topology ?? _topology;
        var found = _lan.Found;
        foreach (var state in _lan.States)
        {
            var status = new LanStatus
            {
                Interface = state.Name,
                State = state.Problem.Length == 0 ? "up" : "down",
                Problem = state.Problem,
                AnnouncedAs = state.AnnouncedAs,
                Dropped = (ulong)state.Dropped,
            };
            status.Services.Add(found.Where(f => f.Interface == state.Name).Select(f => new LanServiceStatus
            {
                Instance = Printable.Of(f.Instance),
                Type = f.Type,
                Address = new IPEndPoint(f.Addresses[0], f.Port).ToString(),
                Meaning = Meaning(now, f),
            }));
            yield return status;
        }
    }

    /// <summary>What the topology makes of it. What a stranger says of itself is shown as such: mutual TLS says who somebody is.</summary>
    private string Meaning(FabricTopology topology, LanService found)
    {
        var services = topology.Services.Where(s => s.Exports.Any(e => e.Site == Identity.Id.Site && e.Lan?.Type == found.Type)).Select(s => s.FullName).ToList();
        if (services.Count > 0)
        {
            return $"endpoint of {string.Join(", ", services)}";
        }

        if (found.Type != FabricType || found["td"] != topology.TrustDomain)
        {
            return found.Type == FabricType ? "a gateway of another fabric" : "";
        }

        var name = found["gateway"] ?? "";
        return name == Identity.Id.Gateway ? "this gateway"
            : topology.FindGateway(name) is { } gateway ? $"says that it is {gateway.Name} of site {gateway.Site}"
            : "says that it is a gateway that the topology does not have";
    }
}
