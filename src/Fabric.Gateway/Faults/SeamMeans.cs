using Fabric.Gateway.Snapshot;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Tunnel;

namespace Fabric.Gateway.Faults;

/// <summary>Faults inside this process: no privilege, no program, and nothing of them outlives it.</summary>
internal sealed class SeamMeans(FaultSeam seam, LinkFaults links, Func<FabricSnapshot?> current, TimeProvider time) : IFaultMeans
{
    public string Name => "seam";

    public string? WhyNot(string kind) => kind switch
    {
        FaultKind.Delay or FaultKind.Loss or FaultKind.Bandwidth =>
            "the gateway's own seam holds or passes bytes: what delays, drops or narrows a part of them is the kernel's",
        FaultKind.GatewayKill or FaultKind.GatewayPause => "a process is ended and stopped by the kernel",
        _ => null,
    };

    public Task<PreparedFault> PrepareAsync(FaultSpec fault) => Task.FromResult(Prepare(fault));

    private PreparedFault Prepare(FaultSpec fault)
    {
        var now = current() ?? throw new GrpcException(GrpcStatus.Unavailable, "the gateway is starting");
        if (FaultKind.IsOfService(fault.Kind))
        {
            var service = now.Topology.Services.FirstOrDefault(s => s.FullName == fault.Service)
                ?? throw new GrpcException(GrpcStatus.NotFound, $"there is no service '{fault.Service}': it is name.namespace");
            return fault.Kind != FaultKind.ServiceDown || service.Exports.Any(e => e.Site == now.Self.Site) ? new Believed(fault, seam)
                : throw new GrpcException(GrpcStatus.FailedPrecondition,
                    $"site {now.Self.Site} exports no endpoint of {fault.Service}: ask a gateway of {string.Join(", ", service.Exports.Select(e => e.Site))}");
        }

        return fault.Kind is FaultKind.CertExpire or FaultKind.SourceGone ? new Believed(fault, seam)
            : new OfLinks(fault, links, [.. LinksOf.Find(now, fault).Select(l => (l.PeerOf(now.Self.Name).Gateway, l.Name))], time);
    }

    /// <summary>What was inside an earlier process ended with it.</summary>
    public Task RevertLeftAsync(FaultLease lease) => Task.CompletedTask;

    private sealed class Believed(FaultSpec fault, FaultSeam seam) : PreparedFault
    {
        public override string Means => "seam";

        public override Task ApplyAsync()
        {
            seam.Hold(fault);
            return Task.CompletedTask;
        }

        public override Task RevertAsync()
        {
            seam.Release(fault.Id);
            return Task.CompletedTask;
        }
    }

    private sealed class OfLinks : PreparedFault
    {
        private readonly FaultSpec _fault;
        private readonly LinkFaults _links;
        private readonly (string Peer, string Link)[] _targets;
        private readonly Flapping? _flapping;

        public OfLinks(FaultSpec fault, LinkFaults links, (string Peer, string Link)[] targets, TimeProvider time)
        {
            (_fault, _links, _targets) = (fault, links, targets);
            _flapping = fault.Kind != FaultKind.Flap ? null
                : new Flapping(SetAsync, TimeSpan.FromMilliseconds(fault.DownMs), TimeSpan.FromMilliseconds(fault.UpMs), time, static _ => { });
        }

        public override string Means => "seam";

        public override Task ApplyAsync() => _flapping?.StartAsync() ?? SetAsync(true);

        public override Task RevertAsync() => _flapping?.StopAsync() ?? SetAsync(false);

        private Task SetAsync(bool on)
        {
            if (on)
            {
                var fault = _fault.Kind == FaultKind.LinkDown ? LinkFault.Down
                    : _fault.Direction switch { "in" => LinkFault.CutIn, "out" => LinkFault.CutOut, _ => LinkFault.Cut };
                _links.Hold(_fault.Id, _targets, fault);
            }
            else
            {
                _links.Release(_fault.Id);
            }

            return Task.CompletedTask;
        }
    }
}

/// <summary>The links of this gateway that a fault means.</summary>
internal static class LinksOf
{
    public static IReadOnlyList<Topology.Model.Link> Find(FabricSnapshot now, FaultSpec fault)
    {
        var links = now.Topology.Links.Where(l => l.Touches(now.Self.Name) && (fault.Kind == FaultKind.SiteIsolate
            ? now.Topology.FindGateway(l.PeerOf(now.Self.Name).Gateway)?.Site != now.Self.Site
            : l.Name == fault.Link && (fault.Peer.Length == 0 || l.PeerOf(now.Self.Name).Gateway == fault.Peer))).ToList();
        return links.Count > 0 ? links : throw (fault.Kind == FaultKind.SiteIsolate
            ? new GrpcException(GrpcStatus.FailedPrecondition, $"gateway {now.Self.Name} has no link to another site")
            : new GrpcException(GrpcStatus.NotFound, $"gateway {now.Self.Name} has no link '{fault.Link}'{(fault.Peer.Length > 0 ? $" to {fault.Peer}" : "")}"));
    }
}
