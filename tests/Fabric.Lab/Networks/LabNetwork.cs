using System.Net;

using Fabric.Lab.Processes;

namespace Fabric.Lab.Networks;

/// <summary>One site of the lab: its gateway, and the addresses that its workloads have.</summary>
public sealed record LabSite
{
    public required string Name { get; init; }

    public string Gateway => $"{Name}-1";

    /// <summary>Where the gateway answers DNS.</summary>
    public required IPEndPoint Dns { get; init; }

    /// <summary>Where nginx listens; also the endpoint of <c>web.shop</c>.</summary>
    public required IPEndPoint Web { get; init; }

    /// <summary>Where redis listens; also the endpoint of <c>cache.shop</c>.</summary>
    public required IPEndPoint Cache { get; init; }

    /// <summary>Source address of the workload <c>shop</c>, which a policy allows.</summary>
    public required IPAddress Shop { get; init; }

    /// <summary>Source address of the workload <c>guest</c>, which no policy allows anything.</summary>
    public required IPAddress Guest { get; init; }
}

/// <summary>Three sites on one machine, and the lines between them. Built once, and gone without a trace after disposal.</summary>
public abstract class LabNetwork : IAsyncDisposable
{
    public const string Web = "web.shop.svc.clusterset.local";
    public const string Cache = "cache.shop.svc.clusterset.local";

    /// <summary><c>namespaces</c> or <c>loopback</c>.</summary>
    public abstract string Mode { get; }

    public abstract LabSite Paris { get; }
    public abstract LabSite Virginia { get; }
    public abstract LabSite Factory { get; }

    public IReadOnlyList<LabSite> Sites => [Paris, Virginia, Factory];

    /// <summary>Name of the link that paris and virginia share besides <c>dx</c>.</summary>
    public abstract string SecondLink { get; }

    /// <summary>Port of <c>web.shop</c>.</summary>
    public abstract int WebPort { get; }

    /// <summary>Port of <c>cache.shop</c>.</summary>
    public int CachePort => 6379;

    /// <summary>The topology of the three sites, in YAML.</summary>
    public abstract string Topology { get; }

    /// <summary>More arguments that the gateway of that site is started with.</summary>
    public abstract string[] GatewayArguments(LabSite site);

    /// <summary>How the names of the WireGuard interfaces of that site begin; empty where there are none.</summary>
    public abstract string InterfacePrefix(LabSite site);

    /// <summary>Removes what an earlier run left, then builds.</summary>
    public abstract Task Build();

    /// <summary>The command line that runs this one inside a site.</summary>
    public abstract string[] Inside(LabSite site, params string[] argv);

    /// <summary>Drops everything on dx, both ways, in silence: no RST, no ICMP, no link-down, no error at the sender.</summary>
    public abstract Task CutDx();

    public abstract Task HealDx();

    /// <summary>
    /// Options with which curl, inside that site, finds a service: none where the site's resolver is its gateway, otherwise
    /// <c>--resolve</c> with what the gateway's DNS answered just now.
    /// </summary>
    public abstract Task<string[]> CurlOptions(LabSite site, string host, int port);

    /// <summary>What redis-cli, inside that site, is given as the host.</summary>
    public abstract Task<string> HostFor(LabSite site, string host);

    public abstract ValueTask DisposeAsync();

    /// <summary>Asks the gateway's DNS for an A record, as a client of the site.</summary>
    public async Task<IPAddress> Resolve(LabSite site, string host)
    {
        var answer = (await Command.Run(Inside(site, "kdig", $"@{site.Dns.Address}", "-p", $"{site.Dns.Port}", "+short", "+timeout=2", host, "A"))).Checked();
        return IPAddress.TryParse(answer.Output.Trim(), out var address) ? address
            : throw new LabException($"{answer.Command}: expected one address, got '{answer.Output.Trim()}'");
    }
}
