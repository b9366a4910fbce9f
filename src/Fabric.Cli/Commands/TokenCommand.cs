using System.CommandLine;
using System.Net;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Topology.Model;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric token create</c>: a one-time token, alone on stdout, so that it can be piped.</summary>
internal static class TokenCommand
{
    public static Command Create(CliHost host)
    {
        var who = new Argument<string>("site/gateway") { Description = "The gateway that is to join, as the topology names it" };
        var ca = CommonOptions.Path(host, "--ca", "FABRIC_CA", CommonOptions.DefaultCa, "Folder of the mesh's authority");
        var ttl = CommonOptions.Duration("--ttl", "How long the token is good. Default: 1h");
        var via = new Option<string[]>("--via")
        {
            Description =
                "Where the joining gateway reaches the authority; repeat it for more. Default: the addresses that the topology "
                + "gives the gateway of this host",
            HelpName = "host:port",
            AllowMultipleArgumentsPerToken = true,
        };
        var topology = CommonOptions.Topology(host);
        var state = CommonOptions.State(host);
        var create = new Command("create", "Make a one-time token with which a gateway joins the mesh")
        {
            who, ca, ttl, via, topology, state,
        };
        create.SetAction(result => Run(host, result.GetRequiredValue(who), result.GetRequiredValue(ca),
            result.GetValue(ttl) ?? JoinTokens.DefaultLife,
            result.GetValue(via) ?? [], result.GetRequiredValue(topology), result.GetRequiredValue(state)));
        return new Command("token", "One-time tokens for joining") { create };
    }

    private static int Run(CliHost host, string who, string caDir, TimeSpan ttl, string[] via, string topologyPath, string state)
    {
        if (who.Split('/') is not [{ Length: > 0 } site, { Length: > 0 } gateway])
        {
            throw new CliException(ExitCode.Usage, $"'{who}' is not SITE/GATEWAY", "such as: fabric token create paris/paris-1");
        }

        if (!MeshCa.Exists(caDir))
        {
            throw new CliException(ExitCode.Failure, $"there is no mesh authority in {caDir}",
                "run this where `fabric init` was run, or name its folder by --ca");
        }

        var topology = TopologyFiles.Load(topologyPath);
        Known(topology, site, gateway);
        var addresses = via.Length > 0 ? via : Addresses(topology, gateway, state, host.Time);
        var ca = MeshCa.Open(caDir, host.Time);
        if (ca.TrustDomain != topology.TrustDomain)
        {
            throw new CliException(ExitCode.Failure,
                $"the authority in {caDir} is of {ca.TrustDomain}, the topology of {topology.TrustDomain}");
        }

        // Of all sites, and not of this one alone: whoever has fetched root.key need not fetch it for the next.
        var lacking = ca.Prepare(topology.Sites.Select(s => s.Name));
        if (lacking.Contains(site))
        {
            throw new CliException(ExitCode.Failure,
                $"nothing can be issued for site {site}: it has no valid intermediate certificate, and root.key, which makes one, is not in {ca.RootKeyFolder}",
                "put root.key there, run this again, and take it away");
        }

        try
        {
            var token = ca.CreateToken(site, gateway, ttl, addresses);
            host.Out.WriteLine(token.Format());
            if (lacking.Count > 0)
            {
                host.Error.WriteLine($"Without an intermediate certificate until root.key is in {ca.RootKeyFolder} once more: {string.Join(", ", lacking)}.");
            }

            host.Error.WriteLine($"Good once, until {token.Expires:u}, for {who}"
                + (addresses.Count > 0 ? $" via {string.Join(", ", addresses)}."
                    : "; it holds no address: redeem it on this host."));
            return ExitCode.Ok;
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or JoinException)
        {
            throw new CliException(e is ArgumentException ? ExitCode.Usage : ExitCode.Failure, e.Message);
        }
    }

    private static void Known(FabricTopology topology, string site, string gateway)
    {
        var all = topology.Sites.SelectMany(s => s.Gateways.Select(g => $"{s.Name}/{g.Name}")).ToList();
        if (!all.Contains($"{site}/{gateway}"))
        {
            throw new CliException(ExitCode.Failure, $"the topology has no gateway {site}/{gateway}",
                Nearest.To($"{site}/{gateway}", all) is { } near ? $"did you mean {near}?"
                    : $"there are {string.Join(", ", all.Take(20))}");
        }
    }

    /// <summary>
    /// How <paramref name="joining"/> reaches the gateway that serves the authority: by the links between the two, then by any
    /// other address of it. It is the gateway that joined on this host. When none has, any other gateway may be the one:
    /// whoever joins tries them in turn. None for the gateway of this host itself.
    /// </summary>
    private static IReadOnlyList<string> Addresses(FabricTopology topology, string joining, string state, TimeProvider time)
    {
        var store = new GatewayKeyStore(Path.Combine(state, "identity"));
        var here = store.Exists ? GatewayIdentity.Load(store, time).Id.Gateway : null;
        if (here == joining)
        {
            return [];
        }

        return topology.Links.OrderByDescending(l => l.Touches(joining)).SelectMany(l => new[] { l.A, l.B })
            .Where(e => e.Address is not null && e.Gateway != joining && (here is null || e.Gateway == here))
            .Select(e => new IPEndPoint(e.Address!, Port(topology, e.Gateway)).ToString())
            .Distinct().Take(JoinToken.MaxAddresses).ToList();
    }

    private static int Port(FabricTopology topology, string gateway) =>
        topology.FindGateway(gateway)!.Port;
}
