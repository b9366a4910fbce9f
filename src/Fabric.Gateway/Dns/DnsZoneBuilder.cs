using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>
/// Builds and changes zones. Names per the Multi-Cluster Services DNS specification 1.0.0 (KEP-1645).
/// </summary>
internal static class DnsZoneBuilder
{
    private const string McsVersion = "1.0.0";
    private const uint McsVersionTtl = 28800;

    // No secondary transfers the zone, so these are only what resolvers expect to see.
    private const uint Refresh = 3600;
    private const uint Retry = 600;
    private const uint Expire = 86400;

    public static readonly DnsName InAddrArpa = DnsName.Parse("in-addr.arpa");
    public static readonly DnsName Ip6Arpa = DnsName.Parse("ip6.arpa");

    public static DnsZone Empty()
    {
        var options = new DnsZoneOptions();
        return new DnsZone(
            DnsName.Root, DnsName.Root, options, 0, DnsTable<DnsServiceEntry>.Empty, DnsTable<DnsNamespace>.Empty,
            DnsReverse.Create(AddressFamily.InterNetwork, []), DnsReverse.Create(AddressFamily.InterNetworkV6, []));
    }

    public static DnsZone Build(string domain, IEnumerable<DnsService> services, uint serial, DnsZoneOptions options)
    {
        var root = DnsName.Parse(domain);
        var isSvc = root.Wire.StartsWith("\x3svc"u8) && !root.Parent.IsRoot;
        var whole = options.ReverseRanges.Where(r => r.PrefixLength == 0)
            .Select(r => $"reverse range {r} must not be the whole address space").ToList();
        return Change(
            new DnsZone(
                isSvc ? root.Parent : root, root, options, serial, DnsTable<DnsServiceEntry>.Empty, DnsTable<DnsNamespace>.Empty,
                DnsReverse.Create(AddressFamily.InterNetwork, options.ReverseRanges),
                DnsReverse.Create(AddressFamily.InterNetworkV6, options.ReverseRanges)),
            [.. services], [], serial, whole);
    }

    public static DnsZone Change(
        DnsZone zone, IReadOnlyCollection<DnsService> changed, IReadOnlyCollection<DnsService> removed, uint serial,
        List<string>? errors = null)
    {
        errors ??= [];
        var (apex, root) = zone.Names;
        var compiler = new DnsServiceCompiler(root, zone.Options);
        var services = zone.Services;
        var added = new List<DnsServiceEntry>(changed.Count);
        var gone = removed.Select(s => services.Find(DnsServiceCompiler.Labels(s))).OfType<DnsServiceEntry>().ToList();
        var reverse = new ReverseChange();
        gone.ForEach(reverse.Remove);
        var spaces = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase);
        var fresh = 0;
        foreach (var service in changed)
        {
            try
            {
                var before = services.Count == 0 ? null : services.Find(DnsServiceCompiler.Labels(service));
                var entry = compiler.Compile(service, before);
                added.Add(entry);
                reverse.Replace(before, entry);
                if (before is null)
                {
                    AddAbove(spaces, service, 1);
                    fresh++;
                }
            }
            catch (FormatException e)
            {
                errors.Add($"service {service.FullName}: {e.Message}");
            }
        }

        foreach (var service in removed.Where(s => services.Find(DnsServiceCompiler.Labels(s)) is not null))
        {
            AddAbove(spaces, service, -1);
            fresh--;
        }

        var next = services.With(gone, added);
        if (next.Count != services.Count + fresh)
        {
            AddDuplicates(changed, errors);
        }

        return errors.Count == 0
            ? new DnsZone(
                apex, root, zone.Options, serial, next, Namespaces(zone.Namespaces, spaces),
                reverse.Of(zone.Reverse.V4, AddressFamily.InterNetwork), reverse.Of(zone.Reverse.V6, AddressFamily.InterNetworkV6))
            : throw new FormatException(string.Join("; ", errors));
    }

    public static DnsSoa Soa(DnsName zone, uint serial, DnsZoneOptions options) => zone.IsRoot
        ? new DnsSoa(zone, zone, serial, Refresh, Retry, Expire, options.NegativeTtl)
        : new DnsSoa(zone.Prepend("ns"), zone.Prepend("hostmaster"), serial, Refresh, Retry, Expire, options.NegativeTtl);

    /// <summary>The names of the zone itself, and what the apex of a reverse zone answers.</summary>
    public static (ImmutableArray<DnsStaticNode> Own, DnsAnswerSet ReverseApex) Own(
        DnsName zone, DnsName root, DnsSoa soa, DnsZoneOptions options)
    {
        DnsRecord Record(DnsName name, uint ttl, DnsData data) => new(name, DnsClass.Internet, ttl, data);
        var server = soa.PrimaryServer;
        var addresses = options.ServerAddresses.Select(a => Record(server, options.Ttl, new DnsAddress(a))).ToImmutableArray();
        var own = ImmutableArray.CreateBuilder<DnsStaticNode>();
        own.Add(DnsStaticNode.Compile(
            zone, [Record(zone, options.Ttl, soa), Record(zone, options.Ttl, new DnsTarget(DnsType.Ns, server))], addresses));
        var version = zone.Prepend("dns-version");
        own.Add(DnsStaticNode.Compile(version, [Record(version, McsVersionTtl, new DnsTxt([McsVersion]))], []));
        if (!addresses.IsEmpty)
        {
            own.Add(DnsStaticNode.Compile(server, addresses, []));
        }

        if (!root.Equals(zone))
        {
            own.Add(DnsStaticNode.Compile(root, [], []));
        }

        return (own.ToImmutable(), ReverseApex(soa, addresses, options.Ttl));
    }

    /// <summary>One for all reverse zones: owners point to the begin of the question, and names in the data are in full.</summary>
    private static DnsAnswerSet ReverseApex(DnsSoa soa, ImmutableArray<DnsRecord> beside, uint ttl)
    {
        var bytes = new List<byte>();
        var buffer = new byte[DnsLimits.Tcp];
        void Put(DnsData data)
        {
            // A name that is written first has nothing to point to, so every record is written by itself.
            var writer = new DnsWriter(buffer);
            writer.TryWriteRecord(DnsName.Root.Wire, DnsClass.Internet, ttl, data);
            bytes.AddRange([0xC0, DnsLimits.Header, .. buffer.AsSpan((DnsLimits.Header + 1)..writer.Length)]);
        }

        // Its two names would share their end: put together from the parts.
        var negative = DnsNegativeSoa.Compile(DnsName.Root, soa, new DnsZoneOptions { Ttl = ttl });
        Put(new DnsOpaque(DnsType.Soa, [.. negative.Names, .. negative.Numbers]));
        var soaLength = bytes.Count;
        Put(new DnsTarget(DnsType.Ns, soa.PrimaryServer));
        var nsLength = bytes.Count - soaLength;
        foreach (var record in beside)
        {
            var writer = new DnsWriter(buffer);
            writer.TryWriteRecord(record);
            bytes.AddRange(buffer.AsSpan(DnsLimits.Header..writer.Length));
        }

        return new DnsAnswerSet([.. bytes],
            [
                new DnsAnswer(0, 0, DnsType.Soa, 0, (ushort)soaLength, (ushort)soaLength, 1, 0),
                new DnsAnswer(0, 0, DnsType.Ns, soaLength, (ushort)nsLength, (ushort)(bytes.Count - soaLength), 1, (ushort)beside.Length),
            ]);
    }

    private static void AddAbove(Dictionary<string, int> spaces, DnsService service, int change)
    {
        if (service.Site is null)
        {
            spaces[service.Namespace] = spaces.GetValueOrDefault(service.Namespace) + change;
            return;
        }

        foreach (var name in service.Above)
        {
            spaces[name] = spaces.GetValueOrDefault(name) + change;
        }
    }

    private static DnsTable<DnsNamespace> Namespaces(DnsTable<DnsNamespace> before, Dictionary<string, int> changes)
    {
        var (removed, added) = (new List<DnsNamespace>(), new List<DnsNamespace>());
        foreach (var (name, change) in changes.Where(c => c.Value != 0))
        {
            var labels = name.Split('.').Reverse().Aggregate(Array.Empty<byte>(), (after, label) => DnsServiceCompiler.Label(label, after));
            var old = before.Find(labels);
            var next = new DnsNamespace(labels, DnsNameComparer.Hash(labels), (old?.Services ?? 0) + change);
            (next.Services == 0 ? removed : added).Add(next);
        }

        return before.With(removed, added);
    }

    private static void AddDuplicates(IEnumerable<DnsService> services, List<string> errors)
    {
        var seen = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (var service in services.Where(s => !seen.Add(s.FullName)))
        {
            errors.Add($"service {service.FullName} is there twice: names must differ by more than case");
        }
    }

    /// <summary>PTR records that go and come.</summary>
    private sealed class ReverseChange
    {
        private readonly HashSet<byte[]> _removed = new(ReferenceEqualityComparer.Instance);
        private readonly List<(IPAddress Address, byte[] Labels)> _added = [];

        public void Remove(DnsServiceEntry entry) => _removed.Add(entry.Labels);

        public void Replace(DnsServiceEntry? before, DnsServiceEntry after)
        {
            if (before is not null && ReferenceEquals(before.Labels, after.Labels) && Equals(before.Address, after.Address))
            {
                return;
            }

            if (before is not null)
            {
                Remove(before);
            }

            if (after.Address is not null)
            {
                _added.Add((after.Address, after.Labels));
            }
        }

        public DnsReverse Of(DnsReverse reverse, AddressFamily family) =>
            reverse.With(_removed, [.. _added.Where(a => a.Address.AddressFamily == family)]);
    }
}
