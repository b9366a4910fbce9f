using System.Collections.Immutable;
using System.Net;
using Fabric.Routing.Health;
using Fabric.Topology;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Simulation;

/// <summary>Figures of one world. Shorter than the defaults where those would only make virtual time pass.</summary>
internal sealed record Figures(TunnelLimits Limits, ProbeSettings Probes, LinkHealthOptions Health)
{
    public static Figures Draw(Random random) => new(
        new TunnelLimits
        {
            InitialWindow = 4096 << random.Next(5),
            MaxWindow = 65_536 << random.Next(3),
            Memory = random.Next(10) == 0 ? 2L << 20 : 16L << 20,
            Grace = TimeSpan.FromSeconds(2 + random.Next(5)),
            PingInterval = TimeSpan.FromSeconds(1),
            LaneTimeout = TimeSpan.FromSeconds(3 + random.Next(3)),
            HandshakeTimeout = TimeSpan.FromSeconds(1 + random.Next(3)),
            RedialMax = TimeSpan.FromSeconds(1 + random.Next(2)),
            LateLimit = TimeSpan.FromSeconds(1 + random.Next(3)),
            BulkLanes = random.Next(2),
            CopyBurst = 4096 << random.Next(8),
            CopyRate = 65_536,
            OpenTimeout = TimeSpan.FromSeconds(2 + random.Next(4)),
        },
        new ProbeSettings
        {
            Active = TimeSpan.FromMilliseconds(50 + 50 * random.Next(2)),
            Idle = TimeSpan.FromMilliseconds(500 + 250 * random.Next(3)),
            HoldDown = TimeSpan.FromMilliseconds(500 + 500 * random.Next(3)),
        },
        new LinkHealthOptions
        {
            // Damped as ever, for seconds in place of a minute.
            Damping = new FlapDampingOptions { HalfLife = TimeSpan.FromSeconds(2), MaxHold = TimeSpan.FromSeconds(6) },
        });
}

/// <summary>A topology by chance: 2 to 6 sites of 1 to 3 gateways, several links for most pairs of sites, none for some.</summary>
internal static class DrawnTopology
{
    private static readonly string[] Names = ["paris", "virginia", "osaka", "lagos", "quito", "perth"];
    private static readonly string[] Carriers = ["dx", "wan", "vsat"];
    private const int MostLinks = 14;

    public const int Port = 80;

    /// <summary>Where the applications of a site call from.</summary>
    public static IPEndPoint Client(int site) => new(new IPAddress([10, 200, (byte)site, 7]), 40_000);

    /// <summary>Address of one end of a link on its network.</summary>
    public static IPAddress Address(int link, int end) => new([10, (byte)(50 + (link >> 8)), (byte)link, (byte)(1 + end)]);

    public static FabricTopology Draw(Random random, Figures figures)
    {
        var count = random.Next(20) switch { < 9 => 2, < 16 => 3, < 18 => 4, 18 => 5, _ => 6 };
        var sites = Enumerable.Range(0, count).Select(i => Site(random, i, count)).ToImmutableArray();
        return new FabricTopology
        {
            TrustDomain = "acme.example",
            Revision = "simulated",
            Sites = sites,
            Links = Links(random, sites),
            Services = [.. Enumerable.Range(0, 1 + random.Next(3)).Select(i => Service(random, i, sites))],
            Workloads = [.. sites.Select((s, i) => new Workload("app", s.Name, [new IPNetwork(Client(i).Address, 32)]))],
            Policies =
            [
                new Policy("all-may", PolicyAction.Allow, [.. sites.Select(s => $"site/{s.Name}/*")], ["*.shop"]),
                .. random.Next(4) == 0
                    ? new[] { new Policy("not-the-last", PolicyAction.Deny, [$"site/{sites[^1].Name}/*"], ["s0.shop"]) } : [],
            ],
            Probes = figures.Probes,
        };
    }

    private static Site Site(Random random, int index, int count)
    {
        var gateways = count > 3 ? 1 : random.Next(10) switch { < 6 => 1, < 9 => 2, _ => 3 };
        return new Site
        {
            Name = Names[index],
            ServiceAddresses = ServiceAddresses.DefaultRange(Names[index]),
            Gateways = [.. Enumerable.Range(1, gateways).Select(g => new SiteGateway { Name = $"{Names[index]}-{g}", Site = Names[index] })],
        };
    }

    private static ImmutableArray<Link> Links(Random random, ImmutableArray<Site> sites)
    {
        var links = ImmutableArray.CreateBuilder<Link>();
        for (var i = 0; i < sites.Length; i++)
        {
            for (var j = i + 1; j < sites.Length; j++)
            {
                if (j > 1 && random.Next(4) == 0)
                {
                    continue;
                }

                foreach (var carrier in Carriers.Where((_, c) => c == 0 || random.Next(2) == 0).ToArray())
                {
                    foreach (var a in sites[i].Gateways)
                    {
                        foreach (var b in sites[j].Gateways.Where(_ => links.Count < MostLinks))
                        {
                            links.Add(Link(random, links.Count, carrier, a.Name, b.Name));
                        }
                    }
                }
            }
        }

        return links.ToImmutable();
    }

    private static Link Link(Random random, int index, string carrier, string one, string other)
    {
        var (a, b) = string.CompareOrdinal(one, other) < 0 ? (one, other) : (other, one);
        // One end of some links cannot be dialled.
        var hidden = random.Next(12);
        return new Link
        {
            Name = carrier,
            Kind = LinkKind.Interconnect,
            A = new LinkEnd(a, hidden == 0 ? null : Address(index, 0)),
            B = new LinkEnd(b, hidden == 1 ? null : Address(index, 1)),
            Cost = random.Next(3) == 0 ? 5 * random.Next(8) : 0,
            Mtu = random.Next(4) == 0 ? 1400 : 1500,
        };
    }

    private static Service Service(Random random, int index, ImmutableArray<Site> sites)
    {
        var first = random.Next(sites.Length);
        var exporters = Enumerable.Range(0, random.Next(3) > 0 ? 1 : 1 + random.Next(Math.Min(3, sites.Length))).Select(i => (first + i) % sites.Length);
        return new Service
        {
            Name = $"s{index}",
            Namespace = "shop",
            Ports = [new ServicePort(null, Port, ServiceProtocol.Tcp)],
            Exports =
            [
                .. exporters.Select(s => new ServiceExport(sites[s].Name,
                [
                    .. Enumerable.Range(1, 1 + random.Next(2))
                        .Select(e => new ServiceEndpoint(new IPAddress([10, 100, (byte)s, (byte)(10 * index + e)]), 8080, Port)),
                ])),
            ],
        };
    }
}
