using System.Net;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>The listeners of a gateway do not take each other's address and port.</summary>
internal static class GatewayChecks
{
    private static readonly SiteGateway Defaults = new() { Name = "", Site = "" };

    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        ILookup<string, (AskedLink Link, Located<AskedEnd> End)> ends = mesh.Links.Where(l => l.Value.Type?.Value == LinkKind.Vpn)
            .SelectMany(l => l.Value.Ends.Select(e => (Link: l.Value, End: e)).DistinctBy(e => e.End.Value.Gateway?.Value))
            .Where(e => e.End.Value.Gateway is not null)
            .ToLookup(e => e.End.Value.Gateway!.Value.Value);
        foreach (Located<AskedGateway> gateway in mesh.Sites.SelectMany(s => s.Value.Gateways))
        {
            CheckListeners(gateway, gateway.Value.Name is { } name ? ends[name.Value] : [], diagnostics);
        }
    }

    private static void CheckListeners(
        Located<AskedGateway> located, IEnumerable<(AskedLink, Located<AskedEnd>)> vpnEnds, DiagnosticBag diagnostics)
    {
        AskedGateway gateway = located.Value;
        var listeners = new List<Listener>();
        int port = gateway.Port?.Value ?? Defaults.Port;
        foreach (IPAddress address in gateway.Listen?.Value.Select(a => a.Value) ?? Defaults.Listen)
        {
            listeners.Add(new Listener("port", new IPEndPoint(address, port), true, true, gateway.Port?.At ?? located.At));
        }

        listeners.Add(new Listener("dns", gateway.Dns?.Value ?? Defaults.Dns, true, true, gateway.Dns?.At ?? located.At));
        if (gateway.DnsTls is { Value: { } tls } dnsTls)
        {
            listeners.Add(new Listener("dnsTls", tls, true, false, dnsTls.At));
        }

        listeners.Add(new Listener("metrics", gateway.Metrics?.Value ?? Defaults.Metrics, true, false,
            gateway.Metrics?.At ?? located.At));
        if ((gateway.Dashboard is { } asked ? asked.Value : Defaults.Dashboard) is { } dashboard)
        {
            listeners.Add(new Listener("dashboard", dashboard, true, false, gateway.Dashboard?.At ?? located.At));
        }

        if (gateway.Lan is { } lan)
        {
            // Multicast DNS has its port by definition, and other programs of the machine may have it as well.
            listeners.Add(new Listener("lan", new IPEndPoint(IPAddress.Any, 5353), false, true, lan.At));
        }

        foreach ((AskedLink link, Located<AskedEnd> end) in vpnEnds)
        {
            var at = new IPEndPoint(IPAddress.IPv6Any, LinkChecks.WireGuardPort(end.Value));
            listeners.Add(new Listener($"wireguardPort on link {Words.Quote(link.Name?.Value ?? "?")}", at, false, true,
                end.Value.WireGuardPort?.At ?? end.At));
        }

        foreach (IGrouping<int, Listener> same in listeners.GroupBy(l => l.At.Port))
        {
            CheckPort([.. same], gateway.Name?.Value ?? "?", diagnostics);
        }
    }

    /// <summary>Listeners on one port number. Which one is reported: the later, once, with the first that it meets.</summary>
    private static void CheckPort(List<Listener> listeners, string gateway, DiagnosticBag diagnostics)
    {
        for (int i = 1; i < listeners.Count && !diagnostics.IsFull; i++)
        {
            Listener later = listeners[i];
            Listener? earlier = listeners.Take(i).FirstOrDefault(e => e.Clashes(later));
            if (earlier is null)
            {
                continue;
            }

            string where = earlier.At.Equals(later.At) ? "" : $" ({earlier.At})";
            diagnostics.Error(DiagnosticCodes.ListenerClash, later.Mark, earlier.Key == "port" && later.Key == "port"
                ? $"gateway {Words.Quote(gateway)} listens twice at {later.At}, or on all addresses and on one"
                : $"{later.Key} of gateway {Words.Quote(gateway)} takes {later.At}, which is taken by its {earlier.Key}{where}",
                "give one of them another port");
        }
    }

    private sealed record Listener(string Key, IPEndPoint At, bool Tcp, bool Udp, Mark Mark)
    {
        /// <summary>[::] is every address, IPv4 too; 0.0.0.0 every IPv4 address.</summary>
        public bool Clashes(Listener other) => ((Tcp && other.Tcp) || (Udp && other.Udp))
            && (Covers(At.Address, other.At.Address) || Covers(other.At.Address, At.Address));

        private static bool Covers(IPAddress any, IPAddress address) => any.Equals(address)
            || any.Equals(IPAddress.IPv6Any) || (any.Equals(IPAddress.Any) && !Ip.IsV6(address));
    }
}
