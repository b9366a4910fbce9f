using System.Net;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>Ends are different gateways that exist, can be dialled, and own their addresses, under and over the link.</summary>
internal static class LinkChecks
{
    private static readonly int DefaultWireGuardPort = new LinkEnd("", null).WireGuardPort;
    private static readonly int DefaultPort = new SiteGateway { Name = "", Site = "" }.Port;

    public static int WireGuardPort(AskedEnd end) => end.WireGuardPort?.Value ?? DefaultWireGuardPort;

    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        var claims = new Dictionary<(LinkKind, IPAddress, int), (string Gateway, Mark At)>();
        int pairs = 0;
        foreach (Located<AskedLink> located in mesh.Links)
        {
            AskedLink link = located.Value;
            pairs += link.Ends.Length * (link.Ends.Length - 1) / 2;
            if (pairs > Reading.MaxObjects)
            {
                diagnostics.Error(DiagnosticCodes.LimitExceeded, located.At,
                    $"the links have more than {Reading.MaxObjects} pairs of ends", "a link with n ends is n·(n−1)/2 pairs");
                return;
            }

            CheckEnds(mesh, link, diagnostics);
            foreach (Located<AskedEnd> end in link.Ends)
            {
                CheckClaim(mesh, link, end.Value, claims, diagnostics);
            }
        }

        CheckServiceRanges(mesh, diagnostics);
        CheckOverlay(mesh, diagnostics);
    }

    private static void CheckEnds(AskedMesh mesh, AskedLink link, DiagnosticBag diagnostics)
    {
        string name = Words.Quote(link.Name?.Value ?? "?");
        var first = new Dictionary<string, Mark>(StringComparer.Ordinal);
        Mark? withoutAddress = null;
        foreach (Located<AskedEnd> located in link.Ends)
        {
            AskedEnd end = located.Value;
            mesh.Gateways.Refers(end.Gateway);
            if (end.Gateway is { } gateway && !first.TryAdd(gateway.Value, gateway.At))
            {
                diagnostics.Error(DiagnosticCodes.LinkToItself, gateway.At,
                    $"link {name} has gateway {Words.Quote(gateway.Value)} at two ends; the first is at {first[gateway.Value]}",
                    "a link joins different gateways");
            }

            if (end.Address is null)
            {
                if (withoutAddress is { } before)
                {
                    diagnostics.Error(DiagnosticCodes.NobodyDials, located.At,
                        $"link {name} has two ends without an address: neither can dial the other; the first is at {before}",
                        "give one an address, or declare one link for each of them");
                }

                withoutAddress ??= located.At;
            }

            if (end.WireGuardPort is { } port && link.Type?.Value == LinkKind.Interconnect)
            {
                diagnostics.Error(DiagnosticCodes.DoesNotApply, port.At,
                    $"wireguardPort does not apply to the interconnect link {name}",
                    "remove it, or make the link's type vpn");
            }
        }
    }

    /// <summary>Behind one address, several gateways can be told apart by port only (a router that forwards ports).</summary>
    private static void CheckClaim(
        AskedMesh mesh, AskedLink link, AskedEnd end, Dictionary<(LinkKind, IPAddress, int), (string Gateway, Mark At)> claims,
        DiagnosticBag diagnostics)
    {
        if (end is not { Gateway: { } gateway, Address: { Value: { } address } located } || link.Type is not { } type)
        {
            return;
        }

        int port = type.Value == LinkKind.Vpn ? WireGuardPort(end)
            : mesh.Gateways.Find(gateway.Value).Gateway?.Port?.Value ?? DefaultPort;
        (LinkKind, IPAddress, int) key = (type.Value, address, port);
        if (!claims.TryAdd(key, (gateway.Value, located.At)) && claims[key].Gateway != gateway.Value)
        {
            diagnostics.Error(DiagnosticCodes.AddressClaimedTwice, located.At,
                $"{new IPEndPoint(address, port)} of gateway {Words.Quote(gateway.Value)} is claimed already by gateway "
                + $"{Words.Quote(claims[key].Gateway)} at {claims[key].At}",
                "two gateways behind one address need different ports");
        }
    }

    /// <summary>What a gateway dials must not look like a service address to it.</summary>
    private static void CheckServiceRanges(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        foreach (AskedLink link in mesh.Links.Select(l => l.Value))
        {
            var sites = link.Ends.Where(e => e.Value.Gateway is not null)
                .Select(e => mesh.Gateways.Find(e.Value.Gateway!.Value.Value).Site)
                .Where(s => s?.ServiceAddresses is not null).Distinct().ToList();
            foreach (Located<IPAddress?> end in link.Ends.Select(e => e.Value.Address).OfType<Located<IPAddress?>>())
            {
                foreach (AskedSite? site in sites.Where(s => end.Value is { } a && s!.ServiceAddresses!.Value.Value.Contains(a)))
                {
                    diagnostics.Error(DiagnosticCodes.OverlappingAddresses, end.At,
                        $"the link end {end.Value} lies in the service addresses {site!.ServiceAddresses!.Value.Value} of site "
                        + Words.Quote(site.Name?.Value ?? "?"), "service addresses come from a range that nothing else uses");
                }
            }
        }
    }

    private static void CheckOverlay(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        if (mesh.TrustDomain is not { } trustDomain)
        {
            return;
        }

        var taken = new Dictionary<IPAddress, (string Link, string Gateway, Mark At)>();
        foreach (AskedLink link in mesh.Links.Select(l => l.Value)
            .Where(l => l.Type?.Value == LinkKind.Vpn && l.Name is not null))
        {
            string name = link.Name!.Value.Value;
            foreach (Located<string> gateway in link.Ends.Select(e => e.Value.Gateway).OfType<Located<string>>())
            {
                IPAddress address = OverlayAddresses.Of(trustDomain.Value, name, gateway.Value);
                if (!taken.TryAdd(address, (name, gateway.Value, gateway.At))
                    && (taken[address].Link != name || taken[address].Gateway != gateway.Value))
                {
                    (string otherLink, string otherGateway, Mark at) = taken[address];
                    diagnostics.Error(DiagnosticCodes.OverlayCollision, gateway.At,
                        $"gateway {Words.Quote(gateway.Value)} on link {Words.Quote(name)} would have the overlay address "
                        + $"{address} of gateway {Words.Quote(otherGateway)} on link {Words.Quote(otherLink)} at {at}",
                        "rename the link: overlay addresses are derived from names");
                }
            }
        }
    }
}
