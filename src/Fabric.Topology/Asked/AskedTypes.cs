using System.Collections.Immutable;
using System.Net;
using Fabric.Topology.Model;

namespace Fabric.Topology.Asked;

// What was asked, as far as it could be read: a value that is null was not given, or was refused with an error. Nothing
// outside this project sees these; what was accepted is Fabric.Topology.Model.

internal sealed class AskedFile
{
    public Located<string>? TrustDomain { get; set; }
    public Located<string>? Domain { get; set; }
    public Located<AskedProbes>? Probes { get; set; }
    public Located<AskedDns>? Dns { get; set; }
    public Located<AskedDrills>? Drills { get; set; }
    public ImmutableArray<Located<AskedSite>> Sites { get; set; } = [];
    public ImmutableArray<Located<AskedLink>> Links { get; set; } = [];
    public ImmutableArray<Located<AskedService>> Services { get; set; } = [];
    public ImmutableArray<Located<AskedWorkload>> Workloads { get; set; } = [];
    public ImmutableArray<Located<AskedPolicy>> Policies { get; set; } = [];
}

internal sealed class AskedProbes
{
    public Located<TimeSpan>? Active { get; set; }
    public Located<TimeSpan>? Idle { get; set; }
    public Located<int>? Misses { get; set; }
    public Located<TimeSpan>? HoldDown { get; set; }
}

internal sealed class AskedDns
{
    public Located<AbsentAnswer>? Absent { get; set; }
    public Located<int>? ResponsesPerSecond { get; set; }
    public Located<AskedForwarding>? Forward { get; set; }
}

internal sealed class AskedDrills
{
    public ImmutableArray<Located<string>> From { get; set; } = [];
}

internal sealed class AskedForwarding
{
    public Located<ImmutableArray<Located<IPEndPoint>>>? Servers { get; set; }
    public Located<ImmutableArray<Located<IPNetwork>>>? Clients { get; set; }
    public ImmutableArray<Located<AskedForwardingZone>> Zones { get; set; } = [];
}

internal sealed class AskedForwardingZone
{
    public Located<string>? Zone { get; set; }
    public Located<ImmutableArray<Located<IPEndPoint>>>? Servers { get; set; }
}

internal sealed class AskedSite
{
    public Located<string>? Name { get; set; }
    public Located<IPNetwork>? ServiceAddresses { get; set; }
    public Located<bool>? Relay { get; set; }
    public Located<AskedForwarding>? Forward { get; set; }
    public ImmutableArray<Located<AskedGateway>> Gateways { get; set; } = [];
}

internal sealed class AskedGateway
{
    public Located<string>? Name { get; set; }
    public Located<ImmutableArray<Located<IPAddress>>>? Listen { get; set; }
    public Located<int>? Port { get; set; }
    public Located<IPEndPoint>? Dns { get; set; }

    /// <summary>The value is null for <c>off</c>.</summary>
    public Located<IPEndPoint?>? DnsTls { get; set; }
    public Located<IPEndPoint>? Metrics { get; set; }

    /// <summary>The value is null for <c>off</c>.</summary>
    public Located<IPEndPoint?>? Dashboard { get; set; }
    public Located<ImmutableArray<byte>>? WireGuardKey { get; set; }
    public Located<AskedLan>? Lan { get; set; }
}

internal sealed class AskedLan
{
    public ImmutableArray<Located<string>> Interfaces { get; set; } = [];
    public Located<bool>? Announce { get; set; }
}

internal sealed class AskedLink
{
    public Located<string>? Name { get; set; }
    public Located<LinkKind>? Type { get; set; }
    public Located<int>? Cost { get; set; }
    public Located<long>? Capacity { get; set; }
    public Located<int>? Mtu { get; set; }
    public ImmutableArray<Located<AskedEnd>> Ends { get; set; } = [];
}

internal sealed class AskedEnd
{
    public Located<string>? Gateway { get; set; }

    /// <summary>The value is null when it was refused: then the end has an address, but it is not known.</summary>
    public Located<IPAddress?>? Address { get; set; }
    public Located<int>? WireGuardPort { get; set; }
}

internal sealed class AskedService
{
    public Located<string>? Name { get; set; }
    public Located<string>? Namespace { get; set; }
    public Located<IPAddress>? Address { get; set; }
    public ImmutableArray<Located<AskedPort>> Ports { get; set; } = [];
    public Located<ServiceDelivery>? Delivery { get; set; }
    public Located<AskedHealth>? Health { get; set; }
    public Located<TimeSpan>? FlowIdle { get; set; }
    public Located<bool>? Headless { get; set; }
    public Located<bool>? SiteNames { get; set; }
    public ImmutableArray<Located<AskedExport>> Exports { get; set; } = [];

    /// <summary><c>name.namespace</c>, or null when one of them was not given.</summary>
    public string? FullName => Name is { } name && Namespace is { } space ? $"{name.Value}.{space.Value}" : null;

    /// <summary>Every port carries datagrams only.</summary>
    public bool IsUdpOnly => Ports.Length > 0 && Ports.All(p => p.Value.Protocol?.Value == ServiceProtocol.Udp);

    /// <summary>The asked kind of health check, or the default.</summary>
    public HealthCheckKind CheckKind => Health?.Value.Type?.Value ?? (IsUdpOnly ? HealthCheckKind.None : HealthCheckKind.Tcp);
}

internal sealed class AskedPort
{
    public Located<string>? Name { get; set; }
    public Located<int>? Port { get; set; }
    public Located<ServiceProtocol>? Protocol { get; set; }
    public Located<ImmutableArray<Located<string>>>? Alpn { get; set; }
    public Located<PortTls>? Tls { get; set; }

    /// <summary>Characters that go in front of the service's DNS name for it: <c>_NAME._tcp.</c>, and with ALPN also <c>_65535._NAME.</c> and <c>_65535._https.</c>.</summary>
    public int NameLength => Math.Max(
        Name is { } name ? name.Value.Length + (Alpn is null ? 7 : 9) : 0, Alpn is null ? 0 : 14);
}

internal sealed class AskedHealth
{
    public Located<HealthCheckKind>? Type { get; set; }
    public Located<int>? Port { get; set; }
    public Located<string>? Path { get; set; }
    public Located<TimeSpan>? Interval { get; set; }
    public Located<TimeSpan>? Timeout { get; set; }
    public Located<int>? Failures { get; set; }
    public Located<int>? Successes { get; set; }
}

internal sealed class AskedExport
{
    public Located<string>? Site { get; set; }
    public ImmutableArray<Located<AskedEndpoint>> Endpoints { get; set; } = [];
    public Located<AskedLanExport>? Lan { get; set; }

    /// <summary>Whether they were given, also when none of them is one.</summary>
    public bool HasEndpoints { get; set; }
}

internal sealed class AskedLanExport
{
    public Located<string>? Type { get; set; }
    public Located<int>? Port { get; set; }
}

internal sealed class AskedEndpoint
{
    public Located<IPEndPoint>? Address { get; set; }
    public Located<int>? Port { get; set; }
    public Located<string>? Host { get; set; }

    /// <summary>The asked name, or the one that the address gives: its numbers joined by <c>-</c>. Null when neither was given.</summary>
    public string? HostName => Host?.Value ?? (Address is { } address ? HostNames.Of(address.Value.Address) : null);
}

/// <summary>Names of hosts that were given none.</summary>
internal static class HostNames
{
    /// <summary><c>10-0-0-1</c>; IPv6 in full, <c>2001-0db8-0000-…</c>: shortened, a name could begin or end with <c>-</c>.</summary>
    public static string Of(IPAddress address) => Ip.IsV6(address)
        ? string.Join('-', Convert.ToHexStringLower(address.GetAddressBytes()).Chunk(4).Select(c => new string(c)))
        : address.ToString().Replace('.', '-');
}

internal sealed class AskedWorkload
{
    public Located<string>? Name { get; set; }
    public Located<string>? Site { get; set; }
    public ImmutableArray<Located<IPNetwork>> Addresses { get; set; } = [];
    public Located<string>? UnixUser { get; set; }
    public Located<string>? Cgroup { get; set; }

    /// <summary>Whether they were given, also when none of them is one.</summary>
    public bool HasAddresses { get; set; }
}

internal sealed class AskedPolicy
{
    public Located<string>? Name { get; set; }
    public Located<PolicyAction>? Action { get; set; }
    public Located<PolicyMode>? Mode { get; set; }
    public ImmutableArray<Located<string>> From { get; set; } = [];
    public ImmutableArray<Located<string>> To { get; set; } = [];
    public ImmutableArray<Located<int>> Ports { get; set; } = [];
    public Located<AskedRequests>? Http { get; set; }
}

internal sealed class AskedRequests
{
    public ImmutableArray<Located<string>> Methods { get; set; } = [];
    public ImmutableArray<Located<string>> Paths { get; set; } = [];
}
