using System.Net;
using Fabric.Topology.Asked;

namespace Fabric.Drills.Definition;

/// <summary>The format of a drill's file, declared once, as that of topologies is: reader, unknown keys and JSON Schema come from here.</summary>
internal static class DrillShapes
{
    private const int Hour = 3_600_000;
    public const int MaxActions = 50;
    private const int MaxProbes = 16;
    private const int MaxNames = 1_000;

    /// <summary>Each with what it needs and what it may have besides, of the keys that not every action has.</summary>
    public static IReadOnlyDictionary<string, (string[] Needs, string[] May)> Kinds { get; } =
        new Dictionary<string, (string[], string[])>(StringComparer.Ordinal)
        {
            ["link-down"] = (["gateway", "link"], ["peer"]),
            ["link-blackhole"] = (["gateway", "link"], ["peer", "direction"]),
            ["delay"] = (["gateway", "link", "delay"], ["peer", "direction", "jitter"]),
            ["loss"] = (["gateway", "link", "lossPercent"], ["peer", "direction"]),
            ["bandwidth"] = (["gateway", "link", "bandwidth"], ["peer", "direction"]),
            ["flap"] = (["gateway", "link", "down", "up"], ["peer"]),
            ["gateway-kill"] = (["gateway"], []),
            ["gateway-pause"] = (["gateway"], []),
            ["site-isolate"] = (["site"], []),
            ["service-down"] = (["gateway", "service"], []),
            ["dns-withdraw"] = (["gateway", "service"], []),
            ["cert-expire"] = (["gateway"], []),
            ["source-gone"] = ([], ["gateway", "site"]),
        };

    /// <summary>Each with what it may have, of the keys that not every probe has.</summary>
    public static IReadOnlyDictionary<string, string[]> ProbeKinds { get; } = new Dictionary<string, string[]>(StringComparer.Ordinal)
    {
        ["connect"] = ["perSecond"],
        ["live"] = ["perSecond", "connections"],
        ["bulk"] = ["connections", "bytes"],
        ["http"] = ["perSecond", "connections", "path"],
        ["dns"] = ["perSecond"],
    };

    private static MapShape<AskedSteady> Steady { get; } = new MapShape<AskedSteady>(
        "steady", "What must hold before the first action, and again after the last one is reverted.")
        .With("before", Scalars.Duration(0, Hour), (s, v) => s.Before = v.Value, "How long it is watched before the first action.", @default: "5s")
        .With("after", Scalars.Duration(1_000, Hour), (s, v) => s.After = v.Value,
            "How long it may take until all of it holds again.", @default: "30s")
        .With("linksUp", new ListShape<string>(Scalars.Label, 0, MaxNames), (s, v) => s.LinksUp = v.Value, "Links that must be up, at both ends.")
        .With("services", new ListShape<string>(DrillScalars.Service, 0, MaxNames), (s, v) => s.Services = v.Value,
            "Services, as `name.namespace`, that must have a healthy site.")
        .With("successPercentMin", DrillScalars.Percent, (s, v) => s.SuccessPercentMin = v.Value, "Of the probes, while it is watched.", @default: "100");

    private static MapShape<AskedAction> Action { get; } = Targets(new MapShape<AskedAction>(
        "action", "One fault at one target. Which keys it needs is in the table of kinds.")
        .With("id", DrillScalars.Name, (a, v) => a.Id = v, "Name of the action, unique in the drill.", required: true)
        .With("kind", DrillScalars.Word([.. Kinds.Keys]), (a, v) => a.Kind = v, "What is done.", required: true))
        .With("start", Scalars.Duration(0, Hour), (a, v) => a.Start = v.Value, "From the end of the steady state's watch.", @default: "0s")
        .With("duration", Scalars.Duration(1_000, Hour), (a, v) => a.Duration = v, "How long it lasts.", required: true)
        .With("delay", Scalars.Duration(1, 10_000), (a, v) => a.Delay = v, "Of `delay`: one way, in each direction that is named.")
        .With("jitter", Scalars.Duration(0, 10_000), (a, v) => a.Jitter = v, "Of `delay`: by how much it varies; not more than the delay.", @default: "0ms")
        .With("lossPercent", DrillScalars.Percent, (a, v) => a.LossPercent = v, "Of `loss`: of packets, in each direction that is named.")
        .With("bandwidth", Scalars.Capacity, (a, v) => a.Bandwidth = v, "Of `bandwidth`: bit rate, such as 10Mbit.")
        .With("down", Scalars.Duration(100, Hour), (a, v) => a.Down = v, "Of `flap`: so long down ...")
        .With("up", Scalars.Duration(100, Hour), (a, v) => a.Up = v, "Of `flap`: ... then so long up.")
        .With("means", DrillScalars.Word("auto", "kernel", "seam"), (a, v) => a.Means = v.Value,
            "`kernel`: with the kernel's own tools; `seam`: inside the gateway, which needs no privilege; `auto`: what is possible there.",
            @default: "auto");

    private static MapShape<AskedProbe> Probe { get; } = new MapShape<AskedProbe>(
        "probe", "A load of the drill's own on one service, from the machine where the drill is run.")
        .With("name", DrillScalars.Name, (p, v) => p.Name = v, "Unique in the drill.", required: true)
        .With("kind", DrillScalars.Word([.. ProbeKinds.Keys]), (p, v) => p.Kind = v,
            "`connect`: new connections; `live`: connections that stay, with numbered messages that are echoed; `bulk`: a hashed stream; "
                + "`http`: new requests on connections that stay; `dns`: queries for the service's name. `live` and `bulk` need "
                + "`fabric drill responder` behind the service.", required: true)
        .With("service", DrillScalars.Service, (p, v) => p.Service = v, "As `name.namespace`.", required: true)
        .With("port", Scalars.Port, (p, v) => p.Port = v, "The service's port.", @default: "the service's only port")
        .With("perSecond", Scalars.Number(1, 1_000), (p, v) => p.PerSecond = v, "New connections, messages, requests or queries.", @default: "20")
        .With("connections", Scalars.Number(1, 64), (p, v) => p.Connections = v, "Of `live`, `bulk` and `http`.", @default: "4, of bulk 1")
        .With("bytes", DrillScalars.Size, (p, v) => p.Bytes = v, "Of `bulk`: of one stream; when it ends, the next begins.", @default: "64MiB")
        .With("address", Scalars.Endpoint, (p, v) => p.Address = v.Value, "`address:port` to send it to.",
            @default: "the service address, as the local gateway tells it")
        .With("path", Scalars.HttpPath, (p, v) => p.Path = v, "Of `http`.", @default: "/")
        .With("timeout", Scalars.Duration(10, 60_000), (p, v) => p.Timeout = v.Value,
            "Of one connection, message, request or query.", @default: "5s");

    private static MapShape<AskedServiceGuard> ServiceGuard { get; } = new MapShape<AskedServiceGuard>(
        "serviceGuard", "Another number of paths for one service.")
        .With("service", DrillScalars.Service, (g, v) => g.Service = v, "As `name.namespace`.", required: true)
        .With("minHealthyPaths", Scalars.Number(0, 100), (g, v) => g.MinHealthyPaths = v.Value, "0: the drill may cut it off.", required: true);

    private static MapShape<AskedGuards> Guards { get; } = new MapShape<AskedGuards>(
        "guards", "What the drill may not do. All are checked against the running fabric before anything is touched.")
        .With("maxSites", Scalars.Number(1, 1_000), (g, v) => g.MaxSites = v.Value, "Most sites with a target.", @default: "1")
        .With("maxLinksPercent", DrillScalars.Percent, (g, v) => g.MaxLinksPercent = v.Value,
            "Most of the fabric's links with a fault at once; each pair of ends is a link.", @default: "50")
        .With("minHealthyPaths", Scalars.Number(0, 100), (g, v) => g.MinHealthyPaths = v.Value,
            "Healthy paths that each service must keep, from every site that may call it.", @default: "1")
        .With("services", new ListShape<AskedServiceGuard>(ServiceGuard, 0, MaxNames), (g, v) => g.Services = v.Value,
            "Services with another number.")
        .With("protectedServices", new ListShape<string>(DrillScalars.Service, 0, MaxNames), (g, v) => g.ProtectedServices = v.Value,
            "Services that must not be touched: no target may carry or export them.")
        .With("windows", new ListShape<string>(DrillScalars.Window, 0, 20), (g, v) => g.Windows = v.Value,
            "When it may run, as `mon-fri 09:00-16:00 Europe/Paris`; it must end within the same window.", @default: "always")
        .With("capacityPercentMax", DrillScalars.Percent, (g, v) => g.CapacityPercentMax = v.Value,
            "Most of a remaining link's declared capacity that the load may use that moves to it.", @default: "80");

    private static MapShape<AskedStop> Stop { get; } = new MapShape<AskedStop>(
        "stop", "When the drill is aborted, and everything reverted at once.")
        .With("failedPercentMax", DrillScalars.Percent, (s, v) => s.FailedPercentMax = v.Value, "Of the probes, over the last 10 s.", @default: "50")
        .With("pauseMax", Scalars.Duration(100, Hour), (s, v) => s.PauseMax = v.Value, "Of a connection of `live` or `bulk`.", @default: "60s")
        .With("protectedServiceDown", Scalars.Flag, (s, v) => s.ProtectedServiceDown = v.Value,
            "Whether it is aborted when a protected service has no healthy site.", @default: "true");

    private static MapShape<AskedExpectations> Expect { get; } = new MapShape<AskedExpectations>(
        "expect", "The budget: what does not hold makes the drill fail. What is not given is measured and not judged.")
        .With("detectionMsMax", Scalars.Number(1, Hour), (e, v) => e.DetectionMsMax = v,
            "From a fault's application to the first gateway that says so, in milliseconds.")
        .With("pauseMsMax", Scalars.Number(0, Hour), (e, v) => e.PauseMsMax = v,
            "The longest time that a connection of `live` or `bulk` got nothing, in milliseconds.")
        .With("requestsFailedMax", Scalars.Number(0, 1_000_000), (e, v) => e.RequestsFailedMax = v, "Of `connect`, `http` and `dns`.")
        .With("connectionsDroppedMax", Scalars.Number(0, 1_000_000), (e, v) => e.ConnectionsDroppedMax = v, "Of `live`, `bulk` and `http`.")
        .With("bytesLostMax", Scalars.Number(0, 1_000_000_000), (e, v) => e.BytesLostMax = v,
            "Of `live` and `bulk`; one that arrives other than it was sent fails the drill in any case.")
        .With("recoveryMsMax", Scalars.Number(1, Hour), (e, v) => e.RecoveryMsMax = v,
            "From the last reversal until the steady state holds again, in milliseconds.");

    /// <summary>One file.</summary>
    public static MapShape<AskedDrill> File { get; } = new MapShape<AskedDrill>("drill", "A declared fault with a budget.")
        .With("drill", Scalars.FormatVersion, (_, _) => { }, "Version of this format.", required: true)
        .With("name", DrillScalars.Name, (d, v) => d.Name = v, "Of the drill, at most 40 characters; runs and reports are named by it.", required: true)
        .With("owner", DrillScalars.Text, (d, v) => d.Owner = v, "Who answers for it.", required: true)
        .With("reason", DrillScalars.Text, (d, v) => d.Reason = v, "What it is to show, in one sentence.", required: true)
        .With("topology", DrillScalars.Path, (d, v) => d.Topology = v,
            "File or folder that it is checked against offline, relative to this file.")
        .With("steady", Steady, (d, v) => d.Steady = v.Value, "The steady state.")
        .With("actions", new ListShape<AskedAction>(Action, 1, MaxActions), (d, v) => d.Actions = v.Value, "What is done.", required: true)
        .With("probes", new ListShape<AskedProbe>(Probe, 0, MaxProbes), (d, v) => d.Probes = v.Value, "What is measured by.")
        .With("guards", Guards, (d, v) => d.Guards = v.Value, "What it may not do.")
        .With("stop", Stop, (d, v) => d.Stop = v.Value, "When it is aborted.")
        .With("expect", Expect, (d, v) => d.Expect = v.Value, "What it may cost.");

    private static MapShape<AskedAction> Targets(MapShape<AskedAction> shape) => shape
        .With("gateway", Scalars.Label, (a, v) => a.Target["gateway"] = v, "Gateway at which it is applied.")
        .With("site", Scalars.Label, (a, v) => a.Target["site"] = v, "Of `site-isolate` and `source-gone`: all gateways of the site.")
        .With("link", Scalars.Label, (a, v) => a.Target["link"] = v, "A link of the gateway.")
        .With("peer", Scalars.Label, (a, v) => a.Target["peer"] = v, "The gateway at the link's other end.", @default: "all that it has there")
        .With("service", DrillScalars.Service, (a, v) => a.Target["service"] = v, "As `name.namespace`.")
        .With("direction", DrillScalars.Word("both", "in", "out"), (a, v) => a.Target["direction"] = v,
            "Seen from the gateway: what arrives, what leaves, or both.", @default: "both");
}
