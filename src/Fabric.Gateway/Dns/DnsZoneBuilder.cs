using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>
/// Compiles a zone: records by name and type → empty non-terminals → bytes. Names per the Multi-Cluster Services DNS
/// specification 1.0.0 (KEP-1645).
/// </summary>
internal sealed class DnsZoneBuilder
{
    private const string McsVersion = "1.0.0";
    private const uint McsVersionTtl = 28800;

    // No secondary transfers the zone, so these are only what resolvers expect to see.
    private const uint Refresh = 3600;
    private const uint Retry = 600;
    private const uint Expire = 86400;

    private readonly Dictionary<DnsName, Dictionary<DnsType, List<DnsRecord>>> _records = new(DnsNameComparer.Instance);
    private readonly Dictionary<DnsName, DnsRecord> _negativeSoas = new(DnsNameComparer.Instance);
    private readonly List<string> _errors = [];
    private readonly DnsZoneOptions _options;
    private readonly uint _serial;
    private readonly DnsName _server;
    private readonly DnsName _mailbox;

    private DnsZoneBuilder(DnsName zone, uint serial, DnsZoneOptions options)
    {
        (_serial, _options) = (serial, options);
        _server = zone.Prepend("ns");
        _mailbox = zone.Prepend("hostmaster");
    }

    public static DnsZone Build(string domain, IEnumerable<DnsService> services, uint serial, DnsZoneOptions options)
    {
        var root = DnsName.Parse(domain);
        var isSvc = root.Wire.StartsWith("\x3svc"u8) && !root.Parent.IsRoot;
        var zone = isSvc ? root.Parent : root;
        var builder = new DnsZoneBuilder(zone, serial, options);
        builder.AddZone(zone);
        builder.Exists(root);
        builder.Add(zone.Prepend("dns-version"), McsVersionTtl, new DnsTxt([McsVersion]));
        foreach (var address in options.ServerAddresses)
        {
            builder.Add(builder._server, options.Ttl, new DnsAddress(address));
        }

        foreach (var range in options.ReverseRanges)
        {
            builder.AddReverseRange(range);
        }

        var seen = new HashSet<DnsName>(DnsNameComparer.Instance);
        foreach (var service in services)
        {
            builder.AddService(root, service, seen);
        }

        return builder._errors.Count == 0
            ? builder.Compile()
            : throw new FormatException(string.Join("; ", builder._errors));
    }

    private void AddZone(DnsName zone)
    {
        var soa = new DnsSoa(_server, _mailbox, _serial, Refresh, Retry, Expire, _options.NegativeTtl);
        if (_negativeSoas.TryAdd(zone, new DnsRecord(zone, DnsClass.Internet, Math.Min(_options.Ttl, _options.NegativeTtl), soa)))
        {
            Add(zone, _options.Ttl, soa);
            Add(zone, _options.Ttl, new DnsTarget(DnsType.Ns, _server));
        }
    }

    private void AddService(DnsName root, DnsService service, HashSet<DnsName> seen)
    {
        try
        {
            var name = root.Prepend(service.Namespace).Prepend(service.Name);
            if (!seen.Add(name))
            {
                _errors.Add($"service {service.Name}.{service.Namespace} is there twice: names must differ by more than case");
                return;
            }

            // Not ready: the names exist without data, so that no resolver concludes that there is nothing below them
            // (RFC 8020) and no stub goes on to its next search domain. The address stays the service's own.
            Exists(name);
            AddReverse(service.ServiceAddress, name);
            if (service.Ready)
            {
                Add(name, _options.Ttl, new DnsAddress(service.ServiceAddress));
            }

            foreach (var port in service.Ports)
            {
                AddPort(name, service, port);
            }
        }
        catch (FormatException e)
        {
            _errors.Add($"service {service.Name}.{service.Namespace}: {e.Message}");
        }
    }

    private void AddPort(DnsName name, DnsService service, DnsPort port)
    {
        if (port.Port is < 1 or > 65535)
        {
            throw new FormatException($"port {port.Port} must be 1 to 65535");
        }

        if (port.Name is null)
        {
            return;
        }

        var srv = name.Prepend(port.Tcp ? "_tcp" : "_udp").Prepend("_" + port.Name);
        Exists(srv);
        if (_records[srv].ContainsKey(DnsType.Srv))
        {
            throw new FormatException($"port name {port.Name} is there twice for one protocol");
        }

        if (service.Ready)
        {
            // One target: nothing to weigh, so weight 0 (RFC 2782).
            Add(srv, _options.Ttl, new DnsSrv(0, 0, (ushort)port.Port, name));
        }
    }

    private void AddReverse(IPAddress address, DnsName target)
    {
        var name = ReverseName(address.GetAddressBytes());
        if (SoaAbove(name) is null)
        {
            AddZone(name);
        }

        Add(name, _options.Ttl, new DnsTarget(DnsType.Ptr, target));
    }

    /// <summary>A zone per value that the bits between the range's length and the next label boundary can take.</summary>
    private void AddReverseRange(IPNetwork range)
    {
        var bytes = range.BaseAddress.GetAddressBytes();
        var bitsPerLabel = bytes.Length == 4 ? 8 : 4;
        var labels = (range.PrefixLength + bitsPerLabel - 1) / bitsPerLabel;
        if (labels == 0)
        {
            _errors.Add($"reverse range {range} must not be the whole address space");
            return;
        }

        var bit = labels * bitsPerLabel;
        for (var i = 0; i < 1 << bit - range.PrefixLength; i++)
        {
            var at = bytes.ToArray();
            at[(bit - 1) / 8] |= (byte)(i << (8 - bit % 8) % 8);
            AddZone(ReverseName(at, labels));
        }
    }

    private static DnsName ReverseName(byte[] address, int labels = int.MaxValue)
    {
        var name = DnsName.Parse(address.Length == 4 ? "in-addr.arpa" : "ip6.arpa");
        var digits = address.Length == 4
            ? address.Select(b => $"{b}")
            : address.SelectMany(b => new[] { $"{b >> 4:x}", $"{b & 15:x}" });
        return digits.Take(labels).Aggregate(name, (n, digit) => n.Prepend(digit));
    }

    private void Add(DnsName name, uint ttl, DnsData data)
    {
        Exists(name);
        var byType = _records[name];
        if (!byType.TryGetValue(data.Type, out var set))
        {
            byType[data.Type] = set = [];
        }

        set.Add(new DnsRecord(name, DnsClass.Internet, ttl, data));
    }

    /// <summary>Makes a name exist and all names between it and its zone (RFC 4592 §2.2.2), data or not.</summary>
    private void Exists(DnsName name)
    {
        for (; _records.TryAdd(name, []) && !_negativeSoas.ContainsKey(name); name = name.Parent)
        {
        }
    }

    private DnsZone Compile()
    {
        var nodes = new Dictionary<DnsName, DnsNode>(_records.Count, DnsNameComparer.Instance);
        var buffer = new byte[DnsLimits.Tcp];
        foreach (var (name, byType) in _records)
        {
            var answers = byType.Select(set => Compile(name, set.Key, set.Value, buffer)).ToImmutableArray();
            nodes[name] = new DnsNode(answers, SoaAbove(name)!);
        }

        return _errors.Count == 0 ? new DnsZone(nodes) : throw new FormatException(string.Join("; ", _errors));
    }

    private DnsAnswer Compile(DnsName name, DnsType type, List<DnsRecord> set, byte[] buffer)
    {
        var writer = new DnsWriter(buffer.AsSpan(0, buffer.Length - DnsLimits.Opt));
        writer.TryWriteQuestion(new DnsQuestion(name, type, DnsClass.Internet));
        var start = writer.Length;
        if (!WriteAll(ref writer, set))
        {
            _errors.Add($"the {set.Count} {type} records of {name} do not fit into a message of {buffer.Length} bytes");
        }

        var answerLength = writer.Length - start;
        ushort additional = 0;
        foreach (var record in set.SelectMany(AddressesOf))
        {
            additional += writer.TryWriteRecord(record) ? (ushort)1 : (ushort)0;
        }

        return new DnsAnswer(
            type, buffer[start..writer.Length], answerLength, (ushort)set.Count, additional);
    }

    private static bool WriteAll(ref DnsWriter writer, List<DnsRecord> set)
    {
        foreach (var record in set)
        {
            if (!writer.TryWriteRecord(record))
            {
                return false;
            }
        }

        return true;
    }

    private IEnumerable<DnsRecord> AddressesOf(DnsRecord record)
    {
        var target = record.Data switch
        {
            DnsSrv srv => srv.Target,
            DnsTarget { Kind: DnsType.Ns } ns => ns.Name,
            _ => null,
        };
        return target is not null && _records.TryGetValue(target, out var byType)
            ? byType.Where(s => s.Key is DnsType.A or DnsType.Aaaa).SelectMany(s => s.Value)
            : [];
    }

    private DnsRecord? SoaAbove(DnsName name)
    {
        DnsRecord? soa;
        for (; !_negativeSoas.TryGetValue(name, out soa) && !name.IsRoot; name = name.Parent)
        {
        }

        return soa;
    }
}
