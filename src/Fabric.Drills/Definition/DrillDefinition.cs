namespace Fabric.Drills.Definition;

/// <summary>A drill as its file says it. Durations in the file are written like "1500ms", "3s", "2m".</summary>
/// <param name="Topology">The topology that the file names for its checks offline; relative to the file, or empty.</param>
public sealed record DrillDefinition(
    string Name,
    string Owner,
    string Reason,
    string Topology,
    SteadyState Steady,
    IReadOnlyList<DrillAction> Actions,
    IReadOnlyList<ProbePlan> Probes,
    DrillGuards Guards,
    StopConditions Stop,
    DrillExpectations Expect);

/// <summary>What must hold before the first action, and again after the last one is reverted.</summary>
/// <param name="Before">How long it is watched before the first action. Default 5 s.</param>
/// <param name="After">How long it may take until all of it holds again. Default 30 s.</param>
/// <param name="LinksUp">Links that must be up, at both ends.</param>
/// <param name="Services">Services that must have a healthy site.</param>
/// <param name="SuccessPercentMin">Of probes, while it is watched. Default 100.</param>
public sealed record SteadyState(
    TimeSpan Before, TimeSpan After, IReadOnlyList<string> LinksUp, IReadOnlyList<string> Services, double SuccessPercentMin);

/// <summary>One fault at one target.</summary>
/// <param name="Kind">As in <c>faults.proto</c>: "link-down", "link-blackhole", "delay" ...</param>
/// <param name="Gateway">Where it is applied; for site-isolate and source-gone of a site: empty, and <paramref name="Site"/> says which.</param>
/// <param name="Start">From the end of the steady state's watch.</param>
/// <param name="Duration">1 s to 1 hour.</param>
public sealed record DrillAction(
    string Id,
    string Kind,
    TimeSpan Start,
    TimeSpan Duration,
    string Gateway = "",
    string Site = "",
    string Link = "",
    string Peer = "",
    string Service = "",
    string Direction = "both",
    int DelayMs = 0,
    int JitterMs = 0,
    double LossPercent = 0,
    long BitsPerSecond = 0,
    int DownMs = 0,
    int UpMs = 0,
    string Means = "auto");

/// <summary>A load of the drill's own on one service, from the machine where the drill is run.</summary>
/// <param name="Kind">
/// "connect" (new connections), "live" (connections that stay, with numbered messages that are echoed), "bulk" (a hashed stream),
/// "http" (new requests on connections that stay), "dns" (queries for the service's name).
/// </param>
/// <param name="PerSecond">New connections, messages, requests or queries a second; for bulk: unused. 1 to 1,000, default 20.</param>
/// <param name="Connections">For live, bulk and http: 1 to 64, default 4 (bulk 1).</param>
/// <param name="Bytes">For bulk: of one stream; when it ends, the next begins. Default 64 MiB.</param>
/// <param name="Address">address:port; empty: the service's address and port as the local gateway tells them.</param>
/// <param name="Path">For http. Default "/".</param>
/// <param name="Timeout">Of one connection, message, request or query. Default 5 s.</param>
public sealed record ProbePlan(
    string Name, string Kind, string Service, int Port, int PerSecond, int Connections, long Bytes, string Address, string Path, TimeSpan Timeout);

/// <summary>What the drill may not do. All are checked before anything is touched, against the running fabric.</summary>
/// <param name="MaxSites">Most sites with a target. Default 1.</param>
/// <param name="MaxLinksPercent">Most of the fabric's links with a fault at once. Default 50.</param>
/// <param name="MinHealthyPaths">Healthy paths that each service must keep, from every site that uses it. Default 1.</param>
/// <param name="ProtectedServices">Services that must not be touched at all: no target may carry or export them.</param>
/// <param name="Windows">When it may run, as "mon-fri 09:00-16:00 Europe/Paris"; none: always.</param>
/// <param name="CapacityPercentMax">Most of a remaining link's declared capacity that the load of what moves to it may use. Default 80.</param>
public sealed record DrillGuards(
    int MaxSites, double MaxLinksPercent, int MinHealthyPaths, IReadOnlyList<string> ProtectedServices, IReadOnlyList<string> Windows,
    double CapacityPercentMax)
{
    /// <summary>Other numbers of healthy paths, by service. Default none.</summary>
    public IReadOnlyDictionary<string, int> PathsOfServices { get; init; } = new Dictionary<string, int>();
}

/// <summary>When the drill is aborted, and everything reverted at once.</summary>
/// <param name="FailedPercentMax">Of probes, over the last 10 s. Default 50.</param>
/// <param name="PauseMax">Of a live connection. Default 60 s.</param>
/// <param name="ProtectedServiceDown">A protected service has no healthy site. Default true.</param>
public sealed record StopConditions(double FailedPercentMax, TimeSpan PauseMax, bool ProtectedServiceDown);

/// <summary>The budget; null: not looked at.</summary>
/// <param name="DetectionMsMax">From a fault's application to the first gateway that says so.</param>
/// <param name="PauseMsMax">The longest time that a live connection, or the hashed stream, got nothing.</param>
/// <param name="RecoveryMsMax">From the last reversal until the steady state holds again.</param>
public sealed record DrillExpectations(
    double? DetectionMsMax, double? PauseMsMax, long? RequestsFailedMax, long? ConnectionsDroppedMax, long? BytesLostMax, double? RecoveryMsMax);
