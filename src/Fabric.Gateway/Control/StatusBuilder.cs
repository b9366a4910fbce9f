using System.Globalization;
using System.Text.Json;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Links;
using Fabric.Gateway.Snapshot;
using Fabric.Protocol.Proto;
using Fabric.Routing.Health;
using Fabric.Routing.Paths;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Gateway.Control;

/// <summary>Turns one snapshot into what <c>fabric status</c>, the metrics and the dashboard show: nothing else is asked.</summary>
internal sealed class StatusBuilder(StatusSources sources, TimeProvider time)
{
    public Status Build(FabricSnapshot now)
    {
        var certificate = sources.Certificate();
        var status = new Status
        {
            Gateway = now.Self.Name,
            Site = now.Self.Site,
            TrustDomain = now.Topology.TrustDomain,
            Version = sources.Version,
            TopologyRevision = now.Topology.Revision,
            TopologyError = now.TopologyError,
            UptimeSeconds = Math.Round(sources.Uptime().TotalSeconds, 1),
            CertificateExpiresInSeconds = Math.Round((certificate.NotAfter - time.GetUtcNow()).TotalSeconds),
            IdentitySource = sources.IdentitySource,
            Streams = (uint)now.Tunnel.OpenStreams,
            StreamsTotal = (ulong)sources.StreamsTotal(),
            StreamsRefused = (ulong)sources.StreamsRefused(),
            OverlayDriver = sources.OverlayDriver,
            Datagrams = Datagrams(now.Tunnel.Datagrams),
            Capacity = Capacity(sources.Usage()),
        };
        var (written, dropped, sampledOut) = sources.Audit();
        status.Audit = new AuditStatus { Written = (ulong)written, Dropped = (ulong)dropped, SampledOut = (ulong)sampledOut };
        status.Capacity.Refusals.Add(sources.OtherRefusals().Select(r => new RefusalStatus { Kind = r.Kind, Count = (ulong)r.Count }));
        status.Claims.Add(sources.Claims().Select(c => new ClaimStatus { Peer = c.Peer, Claim = c.Kind, Count = (ulong)c.Count, Last = c.Last }));
        status.Trust = sources.Trust();
        status.Sites.Add(now.Topology.Sites.Select(s => Site(now, s)));
        status.Links.Add(now.Links.Select(l => Link(now, l)));
        status.Relays.Add(now.Relays.Select(r => Relay(now, r)));
        status.Services.Add(now.Topology.Services.Select(s => Service(now, s)));
        status.Listeners.Add(now.Tunnel.Listeners.Select(l => new Protocol.Proto.ListenerStatus
        {
            Name = l.Name,
            Address = l.Address.ToString(),
            Open = l.Open,
            Error = l.Error ?? "",
        }));
        status.DnsUpstreams.Add(sources.Upstreams().Select(u => Upstream(u.Zone, u.Upstream)));
        status.Problems.Add(Problems(now, status, certificate.NotAfter - certificate.NotBefore));
        status.State = now.Draining ? "draining" : status.Problems.Count > 0 ? "degraded" : "ready";
        return status;
    }

    private static Protocol.Proto.DnsUpstreamStatus Upstream(string zone, Dns.Forwarding.DnsUpstreamStatus upstream) => new()
    {
        Zone = zone,
        Server = upstream.Server.ToString(),
        State = upstream.State,
        RttMs = Math.Round(upstream.RoundTrip?.TotalMilliseconds ?? 0, 2),
        Queries = (ulong)upstream.Queries,
        Failures = (ulong)upstream.Failures,
        Problem = upstream.Problem,
    };

    private static DatagramsStatus Datagrams(DatagramStatus now)
    {
        var status = new DatagramsStatus
        {
            Flows = (uint)now.Flows,
            FlowsTotal = (ulong)now.FlowsTotal,
            ToEndpoints = (ulong)now.ToEndpoints,
            BytesToEndpoints = (ulong)now.BytesToEndpoints,
            ToClients = (ulong)now.ToClients,
            BytesToClients = (ulong)now.BytesToClients,
            LastOversize = now.LastOversize,
        };
        foreach (var (reason, count) in now.Dropped)
        {
            status.Dropped[Name(reason)] = (ulong)count;
        }

        return status;
    }

    private static string Name(DatagramDrop reason) => reason switch
    {
        DatagramDrop.QueueFull => "queue-full",
        DatagramDrop.FlowLimit => "flow-limit",
        DatagramDrop.NotSent => "not-sent",
        _ => Name<DatagramDrop>(reason),
    };

    private static CapacityStatus Capacity(TunnelUsage usage)
    {
        var status = new CapacityStatus
        {
            MemoryLimit = (ulong)usage.MemoryLimit,
            MemoryUsed = (ulong)usage.MemoryUsed,
            Retained = (ulong)usage.Retained,
            Promised = (ulong)usage.Promised,
            Handshakes = (uint)usage.Handshakes,
        };
        status.Refusals.Add(usage.Refusals.Select(r => new RefusalStatus
        {
            Kind = JsonNamingPolicy.SnakeCaseLower.ConvertName(r.Kind.ToString()),
            Count = (ulong)r.Count,
        }));
        status.Certificates.Add(usage.Certificates.Select(r => new RefusalStatus { Kind = r.Code, Count = (ulong)r.Count }));
        status.Driver = usage.DriverName;
        if (usage.Driver is { } driver)
        {
            status.TlsSessions = (ulong)driver.TlsSessions;
            status.TlsBytes = (ulong)driver.TlsBytes;
            status.Loops.Add(driver.Loops.Select(l => new LoopStatus
            {
                Name = l.Name,
                Turns = (ulong)l.Turns,
                BusySeconds = l.Busy.TotalSeconds,
                LongestTurnSeconds = l.LongestTurn.TotalSeconds,
                LongestQueue = (uint)l.LongestQueue,
                Sockets = (uint)l.Sockets,
                SystemCalls = (ulong)l.SystemCalls,
                Bytes = (ulong)l.Bytes,
            }));
        }

        return status;
    }

    private SiteStatus Site(FabricSnapshot now, Site site)
    {
        var status = new SiteStatus { Name = site.Name, Local = site.Name == now.Self.Site };
        status.Gateways.Add(site.Gateways.Select(g => Gateway(now, g)));
        return status;
    }

    private GatewayStatus Gateway(FabricSnapshot now, SiteGateway gateway)
    {
        if (gateway.Name == now.Self.Name)
        {
            return new GatewayStatus { Name = gateway.Name, State = "self" };
        }

        var session = now.Tunnel.Sessions.FirstOrDefault(s => s.Peer == gateway.Name);
        var path = now.Paths.GetValueOrDefault(gateway.Name);
        var catalog = sources.Catalogs.Of(gateway.Name);
        var active = session?.ActiveLink ?? "";
        var counters = session?.Counters ?? default;
        var carried = now.Tunnel.Relayed.FirstOrDefault(r => r.Peer == gateway.Name);
        return new GatewayStatus
        {
            Name = gateway.Name,
            State = active.Length > 0 ? "connected" : "unreachable",
            ActiveLink = active,
            ActiveReason = path?.Reason ?? "no link to it is declared",
            CatalogAgeSeconds = catalog is null ? -1 : Math.Round(time.GetElapsedTime(catalog.Heard).TotalSeconds, 2),
            Streams = (uint)(session?.Streams ?? 0),
            BytesSent = (ulong)counters.Sent,
            BytesReceived = (ulong)counters.Received,
            BytesResent = (ulong)counters.Resent,
            BytesCopied = (ulong)counters.Copied,
            BytesMirrored = (ulong)counters.Mirrored,
            Moves = (ulong)counters.Moves,
            Suspicions = (ulong)counters.Suspicions,
            CopiesTo = session?.CopiesTo ?? "",
            RelayedLanes = (uint)(carried?.Lanes ?? 0),
            RelayedBytes = (ulong)(carried?.Bytes ?? 0),
        };
    }

    private LinkStatus Link(FabricSnapshot now, Probing.LinkHealthSnapshot link)
    {
        var declared = now.Topology.Links.First(l => l.Name == link.Link && l.Touches(now.Self.Name) && l.Touches(link.Peer));
        var session = now.Tunnel.Sessions.FirstOrDefault(s => s.Peer == link.Peer);
        var lane = session?.Lanes.Where(l => l.Link == link.Link).OrderBy(l => l.Channel).ThenByDescending(l => l.State == LaneState.Up).FirstOrDefault();
        var path = now.Paths.GetValueOrDefault(link.Peer);
        var drained = now.Drained(link.Peer, link.Link, session?.Lanes ?? []) ?? "";
        return new LinkStatus
        {
            Drained = drained,
            Name = link.Link,
            Kind = declared.Kind == LinkKind.Vpn ? "vpn" : "interconnect",
            Peer = link.Peer,
            PeerSite = now.Topology.Sites.First(s => s.Gateways.Any(g => g.Name == link.Peer)).Name,
            State = Name(link.State),
            Reason = link.Health.Reason,
            Role = Role(path, link, session?.ActiveLink, drained),
            RttMs = Round(link.Health.Rtt?.TotalMilliseconds ?? 0),
            JitterMs = Round(link.Health.Jitter.TotalMilliseconds),
            LossRatio = Math.Round(link.Health.Loss, 4),
            Cost = declared.Cost,
            Score = Round(new PathChoice().Score(PathCandidate.From(link.Link, link.Health) with { Cost = declared.Cost }) ?? 0),
            SinceSeconds = Math.Round((time.GetUtcNow() - link.Since).TotalSeconds, 1),
            DetectedMs = Round(link.Health.Detected.TotalMilliseconds),
            Mtu = (uint)link.Mtu,
            Lane = Name(lane?.State ?? LaneState.Down),
            LaneError = lane?.LastError ?? "",
            Fault = sources.Faults.Current(link.Peer, link.Link) switch
            {
                LinkFault.Cut => "cut",
                LinkFault.CutIn => "cut-in",
                LinkFault.CutOut => "cut-out",
                LinkFault.None => "",
                _ => "down",
            },
        };
    }

    private static RelayStatus Relay(FabricSnapshot now, RelayView relay) => new()
    {
        Name = relay.Lane.Link,
        Peer = relay.Peer,
        Relay = relay.Relay,
        Role = relay.Lane.State != LaneState.Up ? ""
            : now.Tunnel.Sessions.Any(s => s.Peer == relay.Peer && s.ActiveLink == relay.Lane.Link) ? "active" : "standby",
        Lane = Name(relay.Lane.State),
        LaneError = relay.Lane.LastError ?? "",
        RttMs = Round(relay.Rtt?.TotalMilliseconds ?? 0),
        Score = Round(relay.Score ?? 0),
        Reason = relay.Reason,
    };

    /// <summary>The tunnel says what carries bytes now, routing what should: where they differ, the truth is the tunnel's.</summary>
    private static string Role(PathDecision? path, Probing.LinkHealthSnapshot link, string? active, string drained) =>
        link.Link == active ? "active" : drained.Length > 0 ? "drained" : path?.Preferred.Contains(link.Link) == true && link.State != LinkState.Down ? "standby" : "";

    private static ServiceStatus Service(FabricSnapshot now, Service service)
    {
        var port = service.Ports[0].Port;
        var choice = now.Choices.GetValueOrDefault((service.FullName, port));
        var status = new ServiceStatus
        {
            Name = service.FullName,
            Host = $"{service.FullName}.{now.Topology.Domain}",
            ServiceAddress = now.Addresses.GetValueOrDefault(service.FullName)?.ToString() ?? "",
            ChosenSite = choice?.Chosen ?? "",
            ChosenReason = choice?.Reason ?? "",
            Delivery = service.Delivery == ServiceDelivery.Mirrored ? "mirrored" : "normal",
        };
        status.Ports.Add(service.Ports.Select(p => (uint)p.Port));
        status.Protocols.Add(service.Ports.Select(p => p.Protocol == ServiceProtocol.TcpAndUdp ? "tcp+udp" : Name(p.Protocol)));
        status.Sites.Add(choice?.Candidates.Select(c => new ServiceSiteStatus
        {
            Site = c.Site,
            Endpoints = (uint)c.Endpoints,
            Healthy = (uint)c.Healthy,
            State = c.Endpoints == 0 ? "unknown" : c.Healthy == 0 ? "down" : c.Healthy < c.Endpoints ? "degraded" : "healthy",
            Reason = c.Reason,
        }) ?? []);
        return status;
    }

    /// <param name="life">Of the certificate. It is renewed at half of it, or at two thirds by some: at five sixths it is late.</param>
    private IEnumerable<string> Problems(FabricSnapshot now, Status status, TimeSpan life)
    {
        if (now.TopologyError.Length > 0)
        {
            yield return $"the newest topology was refused: {now.TopologyError}";
        }

        foreach (var problem in now.AddressProblems)
        {
            yield return problem;
        }

        foreach (var link in status.Links.Where(l => l.State is not ("up" or "suspect")))
        {
            yield return $"link {link.Name} to {link.Peer} is {link.State}: {link.Reason}";
        }

        foreach (var gateway in status.Sites.SelectMany(s => s.Gateways).Where(g => g.State == "unreachable" && now.Paths.ContainsKey(g.Name)))
        {
            yield return $"gateway {gateway.Name} cannot be reached: {gateway.ActiveReason}";
        }

        foreach (var service in status.Services.Where(s => s.ChosenSite.Length == 0))
        {
            yield return $"no site can serve {service.Name}: {service.ChosenReason}";
        }

        foreach (var site in status.Services.SelectMany(s => s.Sites.Where(x => x.State == "down").Select(x => $"{s.Name} in {x.Site} is down: {x.Reason}")))
        {
            yield return site;
        }

        foreach (var listener in status.Listeners.Where(l => !l.Open))
        {
            yield return $"{listener.Name} does not listen on {listener.Address}: {listener.Error}";
        }

        foreach (var problem in sources.OtherProblems())
        {
            yield return problem;
        }

        if (status.CertificateExpiresInSeconds < (life / 6).TotalSeconds)
        {
            yield return string.Create(CultureInfo.InvariantCulture,
                $"the certificate ends in {status.CertificateExpiresInSeconds / 60:0} minutes and was not renewed");
        }
    }

    private static string Name<T>(T value)
        where T : struct, Enum => value.ToString().ToLowerInvariant();

    private static double Round(double milliseconds) => Math.Round(milliseconds, 3);
}

/// <summary>What <c>status</c> shows beside the snapshot.</summary>
internal sealed record StatusSources
{
    public required string Version { get; init; }
    public required string OverlayDriver { get; init; }
    public required CatalogWatcher Catalogs { get; init; }
    public required LinkFaults Faults { get; init; }
    public required Func<TimeSpan> Uptime { get; init; }

    /// <summary>Kind and place, without secrets.</summary>
    public required string IdentitySource { get; init; }
    public required Func<(DateTimeOffset NotBefore, DateTimeOffset NotAfter)> Certificate { get; init; }
    public Func<TrustStatus> Trust { get; init; } = () => new TrustStatus();
    public required Func<long> StreamsTotal { get; init; }
    public required Func<long> StreamsRefused { get; init; }
    public required Func<TunnelUsage> Usage { get; init; }

    /// <summary>Turned away by others than the tunnel, by kind.</summary>
    public Func<IEnumerable<(string Kind, long Count)>> OtherRefusals { get; init; } = () => [];

    /// <summary>What peers claimed and nobody believed.</summary>
    public Func<IEnumerable<RefusedClaims>> Claims { get; init; } = () => [];

    /// <summary>Entries of the audit log: written, lost, left out by the share that is asked for.</summary>
    public Func<(long Written, long Dropped, long SampledOut)> Audit { get; init; } = () => default;

    /// <summary>Servers that names of others are looked up at, by zone.</summary>
    public Func<IEnumerable<(string Zone, Dns.Forwarding.DnsUpstreamStatus Upstream)>> Upstreams { get; init; } = () => [];

    /// <summary>Sentences about the overlay, DNS and renewal.</summary>
    public required Func<IEnumerable<string>> OtherProblems { get; init; }
}
