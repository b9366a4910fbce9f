using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Fabric.Topology.Model;

namespace Fabric.Topology;

/// <summary>
/// Service addresses of one importing site. The first pick is by hash of the name, so that gateways of a site agree and a lost
/// state file mostly gives the same addresses again; what was assigned once stays, whatever services come and go.
/// </summary>
public static class ServiceAddresses
{
    /// <summary>127.(64 + SHA-256(site)[0] mod 64).0.0/16.</summary>
    public static IPNetwork DefaultRange(string site) =>
        new(new IPAddress([127, (byte)(64 + (SHA256.HashData(Encoding.UTF8.GetBytes(site))[0] & 63)), 0, 0]), 16);

    /// <summary>How many addresses a range has for services: all but its first and its last.</summary>
    public static UInt128 Capacity(IPNetwork range)
    {
        UInt128 between = Ip.ToNumber(Ip.Last(range)) - Ip.ToNumber(range.BaseAddress);
        return between == 0 ? 0 : between - 1;
    }

    /// <summary>In the range, and neither its first (network) nor its last (broadcast) address.</summary>
    public static bool IsUsable(IPNetwork range, IPAddress address) =>
        range.Contains(address) && !address.Equals(range.BaseAddress) && !address.Equals(Ip.Last(range));

    /// <summary>
    /// The address of <paramref name="service"/> (<c>name.namespace</c>) in <paramref name="range"/>. One that is in
    /// <paramref name="assigned"/> already is kept, unless the range no longer holds it or it is reserved. Otherwise the address
    /// at SHA-256(service) modulo the range's capacity, or the next one after it, around the end, that is neither assigned nor
    /// reserved. False, with a message, when there is none.
    /// </summary>
    public static bool TryPick(
        IPNetwork range, string service, IReadOnlyDictionary<string, IPAddress> assigned, IReadOnlySet<IPAddress> reserved,
        out IPAddress address, out string? error)
    {
        HashSet<IPAddress> taken = [.. reserved, .. assigned.Where(a => a.Key != service).Select(a => a.Value)];
        IPAddress? kept = assigned.GetValueOrDefault(service);
        address = kept is not null && IsUsable(range, kept) && !reserved.Contains(kept) ? kept
            : FirstFree(range, service, taken) ?? IPAddress.None;
        error = address.Equals(IPAddress.None)
            ? $"the service addresses {range} are exhausted: all {Capacity(range)} are taken, none is left for {service}" : null;
        return error is null;
    }

    /// <summary>
    /// Addresses of all that has one (<see cref="ServicePlace"/>, by its key) at one gateway: fixed ones, then those in
    /// <paramref name="assigned"/> (kept by the gateway on disk), then new ones in order of their names, services before their sites
    /// and hosts. The gateway's DNS address is reserved when it lies in the range. What got none is in <paramref name="errors"/>.
    /// </summary>
    public static ImmutableDictionary<string, IPAddress> Assign(
        FabricTopology topology, SiteGateway gateway, IReadOnlyDictionary<string, IPAddress> assigned,
        out ImmutableArray<string> errors)
    {
        IPNetwork range = topology.Sites.Single(s => s.Name == gateway.Site).ServiceAddresses;
        var result = topology.Services.Where(s => s.Address is not null).ToDictionary(s => s.FullName, s => s.Address!);
        HashSet<IPAddress> taken = [gateway.Dns.Address, .. result.Values];
        var wanted = topology.Services.SelectMany(ServicePlace.Of).Select(p => (p.Key, IsService: p.Site is null)).ToList();
        foreach (string name in wanted.Select(p => p.Key))
        {
            if (assigned.TryGetValue(name, out IPAddress? kept) && !result.ContainsKey(name) && IsUsable(range, kept) && taken.Add(kept))
            {
                result.Add(name, kept);
            }
        }

        var failed = ImmutableArray.CreateBuilder<string>();
        foreach (string name in wanted.Where(p => !result.ContainsKey(p.Key))
            .OrderByDescending(p => p.IsService).ThenBy(p => p.Key, StringComparer.Ordinal).Select(p => p.Key))
        {
            if (FirstFree(range, name, taken) is { } free)
            {
                result.Add(name, free);
                taken.Add(free);
            }
            else
            {
                failed.Add($"the service addresses {range} are exhausted: none is left for {name}");
            }
        }

        errors = failed.ToImmutable();
        return result.ToImmutableDictionary();
    }

    private static IPAddress? FirstFree(IPNetwork range, string service, HashSet<IPAddress> taken)
    {
        UInt128 capacity = Capacity(range);
        if (capacity == 0)
        {
            return null;
        }

        UInt128 start = BinaryPrimitives.ReadUInt128BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(service))) % capacity;
        UInt128 first = Ip.ToNumber(range.BaseAddress) + 1;
        bool v6 = Ip.IsV6(range.BaseAddress);
        // Of taken.Count + 1 different addresses one is free, so the walk is bounded by what is taken.
        for (UInt128 i = 0; i < capacity && i <= (UInt128)taken.Count; i++)
        {
            IPAddress candidate = Ip.FromNumber(first + ((start + i) % capacity), v6);
            if (!taken.Contains(candidate))
            {
                return candidate;
            }
        }

        return null;
    }
}
