namespace Fabric.Topology.Model;

/// <summary>What the names of a service answer that no site can serve now.</summary>
public enum AbsentAnswer
{
    /// <summary>The name exists and holds no data.</summary>
    NoData,

    /// <summary>There is no such name.</summary>
    NxDomain,

    /// <summary>The server failed: resolvers that have an older answer may serve it for a while (RFC 8767).</summary>
    ServFail,
}

/// <summary>How names are answered, in every site.</summary>
public sealed record DnsSettings
{
    /// <summary>Null, the default: <see cref="AbsentAnswer.NoData"/>, and of headless services and their hosts <see cref="AbsentAnswer.NxDomain"/>,
    /// as the Multi-Cluster Services DNS specification asks (KEP-1645, 2.4.1).</summary>
    public AbsentAnswer? Absent { get; init; }

    /// <summary>The same answer over UDP to the same /24 or /56, each second. Default 1,000; 0: no limit; at most 50,000.</summary>
    public int ResponsesPerSecond { get; init; } = 1000;

    /// <summary>Where names of others are looked up, in sites that do not say otherwise.</summary>
    public DnsForwarding Forward { get; init; } = new();
}
