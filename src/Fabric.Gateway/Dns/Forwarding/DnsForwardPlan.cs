using System.Collections.Immutable;
using System.Net;
using System.Net.NetworkInformation;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>A zone and whom to ask for it.</summary>
internal sealed record DnsForwardRoute(DnsName Zone, ImmutableArray<DnsUpstream> Upstreams)
{
    /// <summary>Those that answer, the quickest first; then those that are down. Those that lead back to us are left out.</summary>
    public DnsUpstream[] Order() => Upstreams.Length == 1
        ? [.. Upstreams.Where(u => !u.Loops)]
        : [.. Upstreams.Where(u => !u.Loops).OrderBy(u => u.IsDown).ThenBy(u => u.Score)];
}

/// <summary>The rules, made ready to be looked up. Immutable but for the upstreams' health.</summary>
internal sealed class DnsForwardPlan
{
    public static readonly DnsForwardPlan Empty = new([], []);

    private readonly ImmutableArray<(byte[] Base, int Prefix)> _clients;
    private readonly Dictionary<DnsName, DnsForwardRoute> _routes;
    private readonly Dictionary<DnsName, DnsForwardRoute>.AlternateLookup<ReadOnlySpan<byte>> _lookup;

    private DnsForwardPlan(ImmutableArray<IPNetwork> clients, IEnumerable<DnsForwardRoute> routes)
    {
        _clients = [.. clients.Select(c => (c.BaseAddress.GetAddressBytes(), c.PrefixLength))];
        _routes = routes.ToDictionary(r => r.Zone, DnsNameComparer.Instance);
        _lookup = _routes.GetAlternateLookup<ReadOnlySpan<byte>>();
        Upstreams = [.. _routes.Values.SelectMany(r => r.Upstreams).DistinctBy(u => u.Server)];
    }

    public ImmutableArray<DnsUpstream> Upstreams { get; }

    public IEnumerable<DnsForwardRoute> Routes => _routes.Values;

    /// <param name="rules">What is wished.</param>
    /// <param name="resolvConf">Servers of its file.</param>
    /// <param name="upstream">The one at an address, with what is known of it.</param>
    public static DnsForwardPlan Of(
        DnsForwardRules rules, ImmutableArray<IPEndPoint> resolvConf, Func<IPEndPoint, DnsUpstream> upstream)
    {
        var zones = rules.Zones;
        if (rules.ResolvConf is not null && !zones.Any(z => z.Zone.IsRoot))
        {
            zones = zones.Add(new DnsForwardZone(DnsName.Root, resolvConf));
        }

        return new DnsForwardPlan(
            rules.Clients,
            zones.Select(z => new DnsForwardRoute(
                z.Zone, [.. z.Servers.Distinct().Where(s => !IsOwn(s, rules.Own)).Select(upstream)])));
    }

    public bool Serves(ReadOnlySpan<byte> address)
    {
        foreach (var (network, prefix) in _clients)
        {
            if (network.Length == address.Length && IsWithin(address, network, prefix))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>By the longest zone that the name is in; null: by none.</summary>
    public DnsForwardRoute? Find(ReadOnlySpan<byte> name)
    {
        for (var at = 0; ; at += name[at] + 1)
        {
            if (_lookup.TryGetValue(name[at..], out var route))
            {
                return route;
            }

            if (name[at] == 0)
            {
                return null;
            }
        }
    }

    /// <summary>Where we listen, be it on all addresses.</summary>
    private static bool IsOwn(IPEndPoint server, ImmutableArray<IPEndPoint> own) => own.Any(o => o.Port == server.Port
        && (o.Address.Equals(server.Address)
            || (o.Address.Equals(IPAddress.Any) || o.Address.Equals(IPAddress.IPv6Any)) && IsOfThisMachine(server.Address)));

    private static bool IsOfThisMachine(IPAddress address) => IPAddress.IsLoopback(address)
        || NetworkInterface.GetAllNetworkInterfaces().Any(i => i.GetIPProperties().UnicastAddresses.Any(u => u.Address.Equals(address)));

    private static bool IsWithin(ReadOnlySpan<byte> address, ReadOnlySpan<byte> network, int prefix)
    {
        var (whole, rest) = (prefix / 8, prefix % 8);
        return address[..whole].SequenceEqual(network[..whole])
            && (rest == 0 || (address[whole] ^ network[whole]) >> 8 - rest == 0);
    }
}

/// <summary>The <c>nameserver</c> lines of resolv.conf(5).</summary>
internal static class ResolvConf
{
    /// <summary>As many as are looked at; the C library takes 3.</summary>
    public const int MaxServers = 8;

    private const int MaxBytes = 64 << 10;

    /// <summary>The servers, at port 53; none when the file cannot be read. Lines that are not understood are skipped.</summary>
    public static ImmutableArray<IPEndPoint> Read(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            using var reader = new StreamReader(file);
            var text = new char[MaxBytes];
            return Parse(text.AsSpan(0, reader.ReadBlock(text)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    public static ImmutableArray<IPEndPoint> Parse(ReadOnlySpan<char> text)
    {
        var servers = ImmutableArray.CreateBuilder<IPEndPoint>();
        foreach (var line in text.EnumerateLines())
        {
            var words = line.ToString().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words is ["nameserver", var address, ..] && servers.Count < MaxServers && IPAddress.TryParse(address, out var parsed))
            {
                servers.Add(new IPEndPoint(parsed, 53));
            }
        }

        return servers.ToImmutable();
    }
}
