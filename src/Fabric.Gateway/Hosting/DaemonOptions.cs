using Fabric.Gateway.Telemetry.Export;
using Fabric.Tunnel;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// What one daemon is started with. Everything about the fabric itself is in the topology; who this gateway is, in its identity.
/// Each option has a <c>FABRIC_*</c> variable of the same meaning; the command line wins.
/// </summary>
public sealed record DaemonOptions
{
    /// <summary>Identity, WireGuard key, service addresses, last good topology, audit log. Default <c>/var/lib/fabric</c>.</summary>
    public required string State { get; init; }

    /// <summary>File or folder of YAML. Default <c>/etc/fabric/topology</c>.</summary>
    public required string Topology { get; init; }

    /// <summary>Admin API. Default <c>/run/fabric/fabricd.sock</c>.</summary>
    public required string Socket { get; init; }

    /// <summary>Group whose members may use the admin API (socket 0660). Default null: the daemon's own user alone (0600).</summary>
    public string? SocketGroup { get; init; }

    /// <summary>Folder of the mesh CA, when this gateway serves joining and renewal. Default <c>/etc/fabric/ca</c> where it exists.</summary>
    public string? Ca { get; init; }

    /// <summary>
    /// Where this gateway's identity comes from, as <see cref="Fabric.Identity.Sources.IdentitySources.Open"/> reads it. Default
    /// <c>embedded</c>: what <c>fabric join</c> left in the state folder.
    /// </summary>
    public string Identity { get; init; } = "embedded";

    /// <summary>
    /// What DNS over TLS shows: <c>CERT,KEY</c>, two PEM files, read again when they change. Default null: the gateway's own certificate,
    /// which names it by its SPIFFE ID alone.
    /// </summary>
    public string? DnsCertificate { get; init; }

    /// <summary><c>auto</c>, <c>kernel</c>, <c>userspace</c>, or <c>off</c>. Default <c>auto</c>.</summary>
    public string WireGuard { get; init; } = "auto";

    /// <summary>What moves the bytes of the tunnel. Default: the Linux driver where it can run, else the portable one.</summary>
    public TunnelDriver TunnelDriver { get; init; } = TunnelDriver.Auto;

    /// <summary>WireGuard interfaces are named with it and the link's name. Default <c>fab-</c>.</summary>
    public string InterfacePrefix { get; init; } = "fab-";

    /// <summary>Whether faults may be applied here (<c>faults.proto</c>, and <c>SetFault</c>). Default false.</summary>
    public bool AllowFaults { get; init; }

    /// <summary>Within which time systemd has to hear from the daemon, by <c>WATCHDOG_USEC</c>; null: it does not watch it. Default null.</summary>
    internal TimeSpan? Watchdog { get; init; }

    /// <summary>
    /// Share of the streams that were allowed whose lines the audit log gets, from 0 to 1; denials are always written. Default 1.
    /// </summary>
    public double AuditShare { get; init; } = 1;

    /// <summary>What is exported by OTLP, and whether anything is measured at all. Default: nothing is exported.</summary>
    internal OtelSettings Otel { get; init; } = OtelSettings.None;

    /// <summary>How long streams may go on after SIGTERM. Default 10 s.</summary>
    public TimeSpan DrainLimit { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// How long after the loss of a service's last site new connections wait for one. Default 5 s: every link silent at once is over
    /// within the 2 s that a link is held down, where it is over soon at all.
    /// </summary>
    internal TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Called on the state loop's thread before its first turn. For tests of health.</summary>
    internal Action Turning { get; init; } = static () => { };

    /// <summary>Called at the end of each turn of the state loop, on its thread: one that does not return is a loop that stands still. For tests of health.</summary>
    internal Action Turned { get; init; } = static () => { };
}
