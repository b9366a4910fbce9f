using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Telemetry;

/// <summary>Every event of the daemon's log, with its stable id: 1xx life, 2xx topology, 3xx links, 4xx streams, 5xx identity.</summary>
internal static partial class Log
{
    [LoggerMessage(100, LogLevel.Information, "fabricd {Version}: gateway {Gateway} of site {Site} starts, topology {Revision}")]
    public static partial void Starting(ILogger log, string version, string gateway, string site, string revision);

    [LoggerMessage(101, LogLevel.Information, "Ready")]
    public static partial void Ready(ILogger log);

    [LoggerMessage(102, LogLevel.Information, "Stopping: streams may go on for {Limit}")]
    public static partial void Stopping(ILogger log, TimeSpan limit);

    [LoggerMessage(103, LogLevel.Information, "Stopped, {Remaining} streams were cut")]
    public static partial void Stopped(ILogger log, int remaining);

    [LoggerMessage(104, LogLevel.Error, "{What} failed and will be tried again: {Reason}")]
    public static partial void Failed(ILogger log, string what, string reason);

    [LoggerMessage(105, LogLevel.Information, "{Doing} {What}")]
    public static partial void Drain(ILogger log, string doing, string what);

    [LoggerMessage(106, LogLevel.Warning, "{Count} streams were cut: gateway {Gateway} is drained by force")]
    public static partial void Cut(ILogger log, int count, string gateway);

    [LoggerMessage(107, LogLevel.Warning, "{Problem}")]
    public static partial void BadVariable(ILogger log, string problem);

    [LoggerMessage(108, LogLevel.Information, "Exported by OTLP: {Signals}")]
    public static partial void Exporting(ILogger log, string signals);

    [LoggerMessage(200, LogLevel.Information, "Topology {Revision} accepted: {Changes} changes")]
    public static partial void TopologyAccepted(ILogger log, string revision, int changes);

    [LoggerMessage(201, LogLevel.Error, "Topology refused, revision {Running} goes on: {Diagnostics}")]
    public static partial void TopologyRefused(ILogger log, string running, string diagnostics);

    [LoggerMessage(202, LogLevel.Warning, "Topology at {Path} cannot be used ({Reason}): starting from the last good revision")]
    public static partial void TopologyFromLastGood(ILogger log, string path, string reason);

    [LoggerMessage(300, LogLevel.Information, "Link {Link} to {Peer} is {State}: {Reason}")]
    public static partial void LinkChanged(ILogger log, string link, string peer, string state, string reason);

    [LoggerMessage(301, LogLevel.Information, "Streams to {Peer} take {Link}: {Reason}")]
    public static partial void PathChanged(ILogger log, string peer, string link, string reason);

    [LoggerMessage(302, LogLevel.Information, "Introduced to {Peer} over link {Link}")]
    public static partial void Introduced(ILogger log, string peer, string link);

    [LoggerMessage(303, LogLevel.Warning, "Fault {Fault} on link {Link} to {Peer}")]
    public static partial void FaultSet(ILogger log, string fault, string link, string peer);

    [LoggerMessage(304, LogLevel.Information, "Overlay by the {Driver} driver: {Why}")]
    public static partial void OverlayDriver(ILogger log, string driver, string why);

    [LoggerMessage(305, LogLevel.Debug, "Introduction to {Peer} over link {Link} failed: {Reason}")]
    public static partial void NotIntroduced(ILogger log, string peer, string link, string reason);

    [LoggerMessage(306, LogLevel.Information, "A lane to {Peer} is kept through {Relay}: {Reason}")]
    public static partial void RelayChosen(ILogger log, string peer, string relay, string reason);

    [LoggerMessage(307, LogLevel.Warning, "Streams to {Peer} run through gateway {Relay}: {Reason}")]
    public static partial void RelayTaken(ILogger log, string peer, string relay, string reason);

    [LoggerMessage(308, LogLevel.Information, "Streams to {Peer} run no longer through gateway {Relay}: {Reason}")]
    public static partial void RelayLeft(ILogger log, string peer, string relay, string reason);

    [LoggerMessage(309, LogLevel.Warning, "Link {Link} to {Peer} failed, which was noticed {DetectionMs} ms after its last good answer: {Cause}")]
    public static partial void LinkFailed(ILogger log, string link, string peer, double detectionMs, string cause);

    [LoggerMessage(310, LogLevel.Warning, "{Streams} streams to {Peer} went on from {From} on {To}, {PauseMs} ms after its last sign of life: {Cause}")]
    public static partial void FailedOver(ILogger log, int streams, string peer, string from, string to, double pauseMs, string cause);

    [LoggerMessage(320, LogLevel.Warning, "Fault {Id} ({Kind}) of drill {Drill} is in force by {Means} for {Duration}")]
    public static partial void FaultApplied(ILogger log, string id, string kind, string drill, string means, TimeSpan duration);

    [LoggerMessage(321, LogLevel.Information, "Fault {Id} ({Kind}) is reverted: {Why}")]
    public static partial void FaultReverted(ILogger log, string id, string kind, string why);

    [LoggerMessage(322, LogLevel.Error, "Fault {Id} ({Kind}) could not be reverted and is tried again: {Reason}")]
    public static partial void FaultNotReverted(ILogger log, string id, string kind, string reason);

    [LoggerMessage(323, LogLevel.Error, "{File} is no lease of a fault and was moved to {Aside}: {Reason}")]
    public static partial void BadLease(ILogger log, string file, string aside, string reason);

    [LoggerMessage(324, LogLevel.Warning, "Fault {Id} of drill {Drill} keeps this gateway dead until {Until}")]
    public static partial void StaysDead(ILogger log, string id, string drill, DateTimeOffset until);

    [LoggerMessage(400, LogLevel.Warning, "Refused {Caller} to {Service} ({Code}): {Reason}")]
    public static partial void StreamRefused(ILogger log, string caller, string service, string code, string reason);

    [LoggerMessage(406, LogLevel.Warning, "Gateway {Peer} was not believed ({Claim}): {Reason}")]
    public static partial void NotBelieved(ILogger log, string peer, string claim, string reason);

    [LoggerMessage(405, LogLevel.Warning, "{Count} live streams are not allowed any more, by topology {Revision} or because somebody was evicted: they were reset")]
    public static partial void StreamsRevoked(ILogger log, string revision, int count);

    [LoggerMessage(404, LogLevel.Information, "Tunnel: {What}")]
    public static partial void Tunnel(ILogger log, string what);

    [LoggerMessage(401, LogLevel.Information, "Endpoints of {Site} changed: {Summary}")]
    public static partial void CatalogChanged(ILogger log, string site, string summary);

    [LoggerMessage(402, LogLevel.Debug, "Catalog of {Peer} lost: {Reason}")]
    public static partial void CatalogLost(ILogger log, string peer, string reason);

    [LoggerMessage(403, LogLevel.Warning, "Service {Service} has no address: {Reason}")]
    public static partial void NoServiceAddress(ILogger log, string service, string reason);

    [LoggerMessage(502, LogLevel.Information, "{Gateway} asked to join or renew: {Outcome}")]
    public static partial void Joined(ILogger log, string gateway, string outcome);

    [LoggerMessage(503, LogLevel.Information, "Trust document {Version} taken from {From}: {Roots} roots, {Evicted} evicted")]
    public static partial void TrustTaken(ILogger log, ulong version, string from, int roots, int evicted);

    [LoggerMessage(504, LogLevel.Warning, "A trust document from {From} was refused: {Reason}")]
    public static partial void TrustRefused(ILogger log, string from, string reason);

    [LoggerMessage(505, LogLevel.Warning, "{Count} lanes were closed: the mesh trusts their peers no more")]
    public static partial void LanesClosed(ILogger log, int count);

    [LoggerMessage(500, LogLevel.Information, "Certificate renewed from {Source}, valid until {Until}")]
    public static partial void Renewed(ILogger log, string source, DateTimeOffset until);

    [LoggerMessage(501, LogLevel.Warning, "Certificate not renewed from {Source}: {Reason}")]
    public static partial void NotRenewed(ILogger log, string source, string reason);
}
