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
}

/// <summary>Three sites on one machine, and the lines between them. Built once, and gone without a trace after disposal.</summary>
public abstract class LabNetwork : IAsyncDisposable
{
    public const string Web = "web.shop.svc.clusterset.local";
    public const string Cache = "cache.shop.svc.clusterset.local";

    /// <summary><c>namespaces</c> or <c>loopback</c>.</summary>
    public abstract string Mode { get; }

    /// <summary>Source address, where the callers of paris are, of the workload <c>guest</c>, which no policy allows anything.</summary>
    public abstract IPAddress Guest { get; }

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

    /// <summary><c>address:port</c> at which every site reaches the gateway of paris, which holds the mesh's authority.</summary>
    public abstract string Authority { get; }

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

    /// <summary>The command line that runs this one where the callers of paris are: as the workload <c>shop</c>, which a policy allows.</summary>
    public abstract string[] AtShop(params string[] argv);

    /// <summary>Drops everything on dx, both ways, in silence: no RST, no ICMP, no link-down, no error at the sender.</summary>
    public abstract Task CutDx();

    public abstract Task HealDx();

    /// <summary>
    /// Options with which curl, at the shop, finds a service: none where the resolver is the gateway, otherwise
    /// <c>--resolve</c> with what the gateway's DNS answered just now.
    /// </summary>
    public abstract Task<string[]> CurlOptions(string host, int port);

    /// <summary>What redis-cli, at the shop, is given as the host.</summary>
    public abstract Task<string> HostFor(string host);

    public abstract ValueTask DisposeAsync();

    /// <summary>Asks the DNS of paris for an A record.</summary>
    public async Task<IPAddress> Resolve(string host)
    {
        var answer = (await Command.Run(AtShop("kdig", $"@{Paris.Dns.Address}", "-p", $"{Paris.Dns.Port}", "+short", "+timeout=2", host, "A"))).Checked();
        return IPAddress.TryParse(answer.Output.Trim(), out var address) ? address
            : throw new LabException($"{answer.Command}: expected one address, got '{answer.Output.Trim()}'");
    }
}
