using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Telemetry.Export;
using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Protocol.Proto;
using Fabric.Routing.Health;
using Fabric.Topology.Model;
using Fabric.Tunnel;
using Fabric.Tunnel.Drivers;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Hosting;

/// <summary>What the gateway measures and tells of itself, and whether it is well.</summary>
internal sealed partial class GatewayProcess
{
    private GatewayMeter _meter = null!;
    private MetricsPage? _page;

    /// <summary>Before the rooms that tell something, and disposed after them.</summary>
    private void Observe(SiteGateway self, ILoggerFactory logs)
    {
        _meter = new GatewayMeter(new StateReading(Version, Status, Counters, _time));
        Own(new AsyncDisposal(_meter));
        if (!_options.Otel.IsDisabled)
        {
            _page = new MetricsPage(_meter);
            Own(new AsyncDisposal(_page));
        }

        if (OtlpExport.Start(_options.Otel, Version, self.Name, self.Site, _meter, logs) is { } export)
        {
            Own(export);
            Log.Exporting(_log, string.Join(", ", _options.Otel.Targets.Keys.Order().Select(s => s.ToString().ToLowerInvariant())));
        }

        foreach (var problem in _options.Otel.Problems)
        {
            Log.BadVariable(_log, problem);
        }
    }

    /// <summary>In the session's lock.</summary>
    private void Moved(LaneMove move)
    {
        _meter.Traffic.Moved(move.Peer, move.From, move.To, move.Pause);
        Spans.FailedOver(move, _startedAs.Site);
        var pause = Math.Round(move.Pause.TotalMilliseconds, 1);
        Log.FailedOver(_log, move.Streams, move.Peer, move.From, move.To, pause, move.Cause);
        _events.Add(new GatewayEvent
        {
            Kind = "stream-moved",
            Peer = move.Peer,
            Link = move.To,
            PauseMs = pause,
            Text = $"{move.Streams} streams from {move.From}: {move.Cause}",
        });
    }

    private DaemonCounters Counters() => new()
    {
        AuditDropped = AuditDropped,
        Dns = _dns.Statistics,
        Forwarding = _forwarder.Statistics,
        Probes = _prober.Counters,
        Shadow = _egress.Shadow.Counts,
        Held = _ingress.Held,
        StateAge = _time.GetElapsedTime(Interlocked.Read(ref _lastTurn)).TotalSeconds,
        Capacities = _loop.Current is not { } now ? [] : [.. now.Links.Select(l => (l.Link, l.Peer,
            Bits: now.Topology.Links.First(d => d.Name == l.Link && d.Touches(now.Self.Name) && d.Touches(l.Peer)).Capacity ?? 0)).Where(c => c.Bits > 0)],
    };

    /// <summary>The state loop looked at everything within 5 s, and each event loop answered within 5 s.</summary>
    private IReadOnlyList<string> NotLive()
    {
        var problems = new List<string>();
        if (!Alive)
        {
            problems.Add($"the state loop has stood still for {_time.GetElapsedTime(Interlocked.Read(ref _lastTurn)).TotalSeconds:0} s");
        }

        problems.AddRange((_tunnel?.Usage.Driver?.Loops ?? []).Where(l => l.Unanswered >= _loopLimit)
            .Select(l => $"{l.Name} has stood still for {l.Unanswered.TotalSeconds:0} s"));
        return problems;
    }

    private IReadOnlyList<string> NotReady()
    {
        if (_loop?.Current is not { } now)
        {
            return NotStarted();
        }

        var problems = new List<string>(NotLive());
        if (_loop.Draining)
        {
            problems.Add("the gateway is draining");
        }

        var ((from, until), utc) = (Identity.Validity, _time.GetUtcNow());
        if (utc < from || utc >= until)
        {
            problems.Add(utc < from ? $"the certificate begins at {from:u}" : $"the certificate ended at {until:u}");
        }

        problems.AddRange(_tunnel.Status.Listeners.Where(l => !l.Open).Select(l => $"{l.Name} does not listen on {l.Address}: {l.Error}"));
        return problems;
    }

    private IReadOnlyList<string> NotStarted() => _loop?.Current is null ? ["the first topology is not applied yet"] : [];

    /// <summary>Lanes that failed while the link carried nothing need not wait out their pause.</summary>
    private static void HurryOver(Probing.LinkHealthSnapshot link, GatewayTunnel tunnel)
    {
        if (link.State == LinkState.Up)
        {
            tunnel.Hurry(link.Peer, link.Link);
        }
    }

    private void LinkChanged(Probing.LinkHealthSnapshot link)
    {
        Log.LinkChanged(_log, link.Link, link.Peer, link.State.ToString().ToLowerInvariant(), link.Health.Reason);
        if (link.State == LinkState.Down && link.Health.Detected > TimeSpan.Zero)
        {
            _meter.Traffic.Detected(link.Link, link.Peer, link.Health.Detected);
            Log.LinkFailed(_log, link.Link, link.Peer, Math.Round(link.Health.Detected.TotalMilliseconds, 1), link.Health.Reason);
        }

        Signal();
    }
}
