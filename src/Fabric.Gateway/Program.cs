using System.CommandLine;
using Fabric.Gateway.Hosting;
using Fabric.Identity.Sources;
using Fabric.Tunnel;

var state = Option("--state", "FABRIC_STATE", "/var/lib/fabric", "Folder of identity, keys, last good topology and audit log");
var topology = Option("--topology", "FABRIC_TOPOLOGY", "/etc/fabric/topology", "Topology: a YAML file, or a folder of them");
var socket = Option("--socket", "FABRIC_SOCKET", "/run/fabric/fabricd.sock", "Unix socket of the admin API");
var socketGroup = Option("--socket-group", "FABRIC_SOCKET_GROUP", "", "Group whose members may use that socket; none: only the daemon's own user");
var ca = Option("--ca", "FABRIC_CA", "", "Folder of the mesh CA; with it, this gateway serves joining and renewal");
var identity = Option("--identity", "FABRIC_IDENTITY", "embedded",
    "Where the certificate comes from: embedded (fabric join), files:DIR, files:CERT,KEY,BUNDLE, vault:FILE, "
    + "spiffe:SOCKET, or spiffe for the socket in SPIFFE_ENDPOINT_SOCKET");
var dnsCertificate = Option("--dns-certificate", "FABRIC_DNS_CERTIFICATE", "",
    "Certificate of DNS over TLS: CERT,KEY, two PEM files; none: the gateway's own");
var wireguard = Option("--wireguard", "FABRIC_WIREGUARD", "auto", "WireGuard driver: auto, kernel, userspace or off");
wireguard.AcceptOnlyFromAmong("auto", "kernel", "userspace", "off");
var tunnelDriver = Option("--tunnel-driver", "FABRIC_TUNNEL_DRIVER", "auto", "What moves the bytes: auto, linux or portable");
tunnelDriver.AcceptOnlyFromAmong("auto", "linux", "portable");
var prefix = Option("--interface-prefix", "FABRIC_INTERFACE_PREFIX", "fab-", "Prefix of WireGuard interface names");
var drain = new Option<double>("--drain-seconds")
{
    Description = "How long streams may go on after SIGTERM",
    DefaultValueFactory = _ => double.TryParse(Environment.GetEnvironmentVariable("FABRIC_DRAIN_SECONDS"), out var s) ? s : 10,
};
var auditShare = new Option<double>("--audit-share")
{
    Description = "Share of the allowed streams that the audit log tells of, 0 to 1; of denials it tells always [FABRIC_AUDIT_SHARE]",
    DefaultValueFactory = _ => double.TryParse(
        Environment.GetEnvironmentVariable("FABRIC_AUDIT_SHARE"), System.Globalization.CultureInfo.InvariantCulture, out var s) ? s : 1,
};
var allowFaults = new Option<bool>("--allow-faults")
{
    Description = "Let drills apply faults at this gateway [FABRIC_ALLOW_FAULTS]",
    DefaultValueFactory = _ => Environment.GetEnvironmentVariable("FABRIC_ALLOW_FAULTS") is "1" or "true",
};
var check = new Option<bool>("--check") { Description = "Validate configuration and topology, print every error, and exit" };

var root = new RootCommand("The Fabric gateway daemon")
{
    state, topology, socket, socketGroup, ca, identity, dnsCertificate, wireguard, tunnelDriver, prefix, drain, auditShare, allowFaults, check,
};
root.SetAction(async (parsed, cancellationToken) =>
{
    var options = new DaemonOptions
    {
        State = parsed.GetValue(state)!,
        Topology = parsed.GetValue(topology)!,
        Socket = parsed.GetValue(socket)!,
        SocketGroup = parsed.GetValue(socketGroup) is { Length: > 0 } group ? group : null,
        Ca = CaFolder(parsed.GetValue(ca)!),
        Identity = Source(parsed.GetValue(identity)!),
        DnsCertificate = parsed.GetValue(dnsCertificate) is { Length: > 0 } files ? files : null,
        WireGuard = parsed.GetValue(wireguard)!,
        TunnelDriver = Enum.Parse<TunnelDriver>(parsed.GetValue(tunnelDriver)!, ignoreCase: true),
        InterfacePrefix = parsed.GetValue(prefix)!,
        AllowFaults = parsed.GetValue(allowFaults),
        AuditShare = Math.Clamp(parsed.GetValue(auditShare), 0, 1),
        DrainLimit = TimeSpan.FromSeconds(Math.Clamp(parsed.GetValue(drain), 0, 3600)),
    };
    if (parsed.GetValue(check))
    {
        return DaemonCheck.Run(options, TimeProvider.System, Console.Out, Console.Error);
    }

    // First of all: threads inherit it.
    ThreadNice.Set(ThreadNice.Daemon);
    return await Daemon.RunAsync(options, TimeProvider.System, cancellationToken);
});

// The daemon handles its own signals: a drain takes longer than the parser's own limit on Ctrl-C.
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null });

static Option<string> Option(string name, string variable, string fallback, string description) => new(name)
{
    Description = $"{description} [{variable}]",
    DefaultValueFactory = _ => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } set ? set : fallback,
};

static string? CaFolder(string given) =>
    given.Length > 0 ? given : Directory.Exists("/etc/fabric/ca") ? "/etc/fabric/ca" : null;

static string Source(string given) =>
    given == IdentitySources.Spiffe && Environment.GetEnvironmentVariable("SPIFFE_ENDPOINT_SOCKET") is { Length: > 0 } named
        ? $"{given}:{named}" : given;
