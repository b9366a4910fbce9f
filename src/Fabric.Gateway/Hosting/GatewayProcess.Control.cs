using Fabric.Gateway.Catalog;
using Fabric.Gateway.Control;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Ingress;
using Fabric.Gateway.Telemetry;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Gateway.Hosting;

/// <summary>What the gateway shows of itself, and what it is told, over its admin socket and pages.</summary>
internal sealed partial class GatewayProcess
{
    private StatusSources Sources(IngressRouter ingress, EgressDecider egress, CatalogWatcher catalogs) => new()
    {
        Version = Version,
        OverlayDriver = _overlayDriver,
        Catalogs = catalogs,
        Faults = _faults,
        Uptime = () => _time.GetElapsedTime(_started),
        IdentitySource = _renewal.Source,
        Trust = _trust.Status,
        Certificate = () => Identity.Validity,
        StreamsTotal = () => egress.Accepted + ingress.Accepted,
        StreamsRefused = () => egress.Refused + ingress.Refused,
        Usage = () => _tunnel.Usage,
        Claims = () => _claims.Counts,
        OtherRefusals = () => _admission.Refused,
        Audit = () => (_audit.Written, AuditDropped, _sieve.SampledOut),
        Upstreams = () => _forwarder.Upstreams,
        Lan = LanStatus,
        OtherProblems = () => (_overlay?.Faults ?? []).Select(f => $"overlay {f.Interface}: {f.Message}")
            .Concat(new[] { _rangeProblem, _renewal.Problem, _trust.Problem, OwnEviction(), AtRestart(), Waiting(ingress.Held) }.Where(p => p.Length > 0))
            .Concat(_claims.Problems).Concat(_review.Problems).Concat(ForwardingProblems()).Concat(LanProblems()).Concat(FaultProblems()),
    };

    private static string Waiting(int held) => held == 0 ? ""
        : $"{(held == 1 ? "1 new connection waits" : $"{held} new connections wait")} for a site that serves them";

    /// <summary>What a reload asked for and only a restart brings: sockets of the process itself, and how links are probed.</summary>
    private string AtRestart()
    {
        var now = _loop.Current!;
        var changed = new (string What, bool Differs)[]
        {
            ("dns", !now.Self.Dns.Equals(_startedAs.Dns)),
            ("dnsTls", !Equals(now.Self.DnsTls, _startedAs.DnsTls)),
            ("responsesPerSecond", now.Topology.Dns.ResponsesPerSecond != _startedLimit),
            ("metrics", !now.Self.Metrics.Equals(_startedAs.Metrics)),
            ("dashboard", !Equals(now.Self.Dashboard, _startedAs.Dashboard)),
            ("probes", now.Topology.Probes != _startedWith),
        };
        var names = string.Join(", ", changed.Where(c => c.Differs).Select(c => c.What));
        return names.Length == 0 ? "" : $"the topology changed {names}, which takes effect when this gateway is restarted";
    }

    private int LoadWithout(string peer) => _loop.Current?.Tunnel is { } tunnel
        ? tunnel.OpenStreams - (tunnel.Sessions.FirstOrDefault(s => s.Peer == peer)?.Streams ?? 0) : 0;

    /// <summary>As long as catalogs are believed.</summary>
    private static readonly TimeSpan _dnsStaleAfter = TimeSpan.FromSeconds(5);

    private int _startedLimit;

    private DnsServerOptions DnsOptions(SiteGateway self)
    {
        _startedLimit = _topology.Dns.ResponsesPerSecond;
        var file = self.DnsTls is not null && _options.DnsCertificate is { } paths ? new DnsCertificateFile(paths, _time) : null;
        return new DnsServerOptions
        {
            Listen = [self.Dns],
            ListenTls = self.DnsTls is { } tls ? [tls] : [],
            Certificate = file is null ? () => Identity.Certificate : () => file.Current,
            ResponsesPerSecond = _startedLimit,
            Identifier = self.Name,
            Forwarder = _forwarder,
            Answered = _options.Otel.IsDisabled ? null : _meter.Traffic.Answered,
        };
    }

    /// <summary>What DNS answers from. A state loop that stands still must not go unnoticed: what it said last is no longer so.</summary>
    private DnsZone Zone() => _loop.Current is not { Zone: var zone } ? DnsZone.Empty
        : _time.GetElapsedTime(Interlocked.Read(ref _lastTurn)) <= _dnsStaleAfter ? zone : zone.Stale;

    private ControlServices Services(CatalogPublisher publisher) => new()
    {
        Status = Status,
        Metrics = _page is { } page ? page.Render : null,
        Catalog = publisher.WatchAsync,
        WrongName = peer => _claims.Refuse(peer, PeerClaim.Name, $"{peer} asked for the catalog under another gateway's name"),
        AdmitAdmin = _admission.AdminCall,
        Reload = () => Reload(force: true),
        InForce = stop => _loop.FollowedAsync(_loopLimit, stop),
        SetFault = _options.AllowFaults ? SetFault : null,
        Faults = _faultsService,
        Drain = new Drains(Identity.Id.Gateway, _loop, _tunnel, _time, _log).DrainAsync,
        PublishTrust = _trust.Publish,
        ResolveName = ResolveNameAsync,
        Health = new HealthChecks(NotLive, NotReady, NotStarted),
    };

    private Protocol.Proto.Status? Status() => _loop?.Current is { } now && _status is { } builder ? builder.Build(now) : null;

    private int SetFault(string peer, string link, LinkFault fault)
    {
        var touched = (_loop.Current?.Links ?? []).Where(l => l.Link == link && (peer.Length == 0 || l.Peer == peer)).ToList();
        foreach (var one in touched)
        {
            Log.FaultSet(_log, fault.ToString(), one.Link, one.Peer);
            _faults.Set(one.Peer, one.Link, fault);
        }

        Signal();
        return touched.Count;
    }
}
