using System.Text;
using Fabric.Topology.Asked;

namespace Fabric.Topology;

/// <summary>The first topology of a mesh, with comments, for <c>fabric init</c>.</summary>
public static class TopologyTemplate
{
    /// <summary>Sites of one template: each gets an address of 192.0.2.0/24, to be replaced.</summary>
    public const int MaxSites = 100;

    /// <summary>
    /// YAML that loads without errors: a gateway per site, one interconnect link between all of them with documentation
    /// addresses (RFC 5737) to be replaced, and an example of a service, its caller and its policy as comments. Throws
    /// <see cref="ArgumentException"/>, with the rule, on a trust domain or a site name that no topology may have, no sites,
    /// more than <see cref="MaxSites"/>, or one twice.
    /// </summary>
    public static string Create(string trustDomain, IReadOnlyList<string> sites)
    {
        Require(Scalars.TrustDomain.Parse(trustDomain).Problem, trustDomain, nameof(trustDomain));
        foreach (string site in sites)
        {
            // The gateway is named after the site, and is a label too.
            Require(Scalars.Label.Parse(site + "-1").Problem, site, nameof(sites));
            Require(Scalars.Label.Parse(site).Problem, site, nameof(sites));
        }

        if (sites.Count is 0 or > MaxSites || sites.Distinct().Count() != sites.Count)
        {
            throw new ArgumentException(
                $"a first topology has 1 to {MaxSites} different sites; {sites.Count} were given", nameof(sites));
        }

        var yaml = new StringBuilder($"""
            # The desired state of this fabric. Check it with: fabric validate
            fabric: 1
            trustDomain: {Quote(trustDomain)}

            sites:

            """);
        foreach (string site in sites)
        {
            yaml.Append($"""
                  - name: {Quote(site)}
                    # serviceAddresses: 10.201.0.0/16   # default: {ServiceAddresses.DefaultRange(site)}
                    gateways:
                      - name: {Quote(site + "-1")}
                        # listen: ["::"]
                        # port: 7443
                        # dns: 127.0.0.1:53


                """);
        }

        AppendLinks(yaml, sites);
        yaml.Append($"""
            # What sites offer, who calls, and who may. Nothing is allowed that no policy allows.
            #
            # services:
            #   - name: web
            #     namespace: shop
            #     ports: [ {"{ port: 80, protocol: http }"} ]
            #     health: {"{ type: http, path: / }"}
            #     exports:
            #       - site: {sites[^1]}
            #         endpoints: [ "127.0.0.1:8080" ]
            # workloads:
            #   - {"{"} name: shop, site: {sites[0]}, addresses: [ 10.1.0.0/24 ] {"}"}
            # policies:
            #   - name: shop-may-call-web
            #     action: allow
            #     from: [ site/{sites[0]}/workload/shop ]
            #     to: [ web.shop ]

            """);
        return yaml.ToString().ReplaceLineEndings("\n");
    }

    private static void AppendLinks(StringBuilder yaml, IReadOnlyList<string> sites)
    {
        if (sites.Count == 1)
        {
            yaml.Append("# links: []   # ways between the gateways of different sites\n\n");
            return;
        }

        yaml.Append("""
            links:
              # REPLACE the addresses: how the gateways reach each other. An end without an address dials out.
              # type: vpn builds a WireGuard tunnel instead; then every pair of ends gets one.
              - name: wan
                type: interconnect
                ends:

            """);
        for (int i = 0; i < sites.Count; i++)
        {
            yaml.Append($"      - {{ gateway: {Quote(sites[i] + "-1")}, address: 192.0.2.{i + 1} }}\n");
        }

        yaml.Append('\n');
    }

    /// <summary>Quoted only where a YAML 1.1 reader would see something else than text.</summary>
    private static string Quote(string name) =>
        name.All(c => char.IsAsciiDigit(c) || c is '.' or '-' or '_' or 'e') || !char.IsAsciiLetter(name[0])
        || name is "y" or "n" or "yes" or "no" or "on" or "off" or "true" or "false" or "null" ? $"\"{name}\"" : name;

    private static void Require(string? problem, string value, string parameter)
    {
        if (problem is not null)
        {
            throw new ArgumentException($"{Words.Quote(value)} {problem}", parameter);
        }
    }
}
