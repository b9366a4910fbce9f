using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Protocol.Dns;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Dns;

/// <summary>
/// Everything that this gateway answers, compiled and immutable. Every answer that holds data is a run of bytes, ready to
/// follow the echoed question; a negative one is put together with the SOA record of this moment. See README.md for what is answered.
/// </summary>
/// <remarks>
/// Services are in a table by name and namespace, each with the names below it; reverse names follow from the sorted addresses; the
/// few names of the zone itself are looked through. <see cref="With"/> shares what did not change.
/// </remarks>
public sealed class DnsZone
{
    private readonly DnsName _zone;
    private readonly DnsName _root;
    private readonly DnsZoneOptions _options;
    private readonly ImmutableArray<DnsStaticNode> _own;
    private readonly DnsAnswerSet _reverseApex;
    private readonly DnsTable<DnsServiceEntry> _services;
    private readonly DnsTable<DnsNamespace> _namespaces;
    private readonly DnsReverse _reverse4;
    private readonly DnsReverse _reverse6;
    private readonly DnsSoa _soa;
    private readonly byte[]? _stale;
    private DnsZone? _staleTwin;

    internal DnsZone(
        DnsName zone, DnsName root, DnsZoneOptions options, uint serial, DnsTable<DnsServiceEntry> services,
        DnsTable<DnsNamespace> namespaces, DnsReverse reverse4, DnsReverse reverse6)
    {
        (_zone, _root, _options, _services, _namespaces) = (zone, root, options, services, namespaces);
        (_reverse4, _reverse6) = (reverse4, reverse6);
        _soa = DnsZoneBuilder.Soa(zone, serial, options);
        (_own, _reverseApex) = zone.IsRoot ? ([], new DnsAnswerSet([], [])) : DnsZoneBuilder.Own(zone, root, _soa, options);
        NegativeSoa = DnsNegativeSoa.Compile(zone, _soa, options);
    }

    private DnsZone(DnsZone zone, string why)
    {
        (_zone, _root, _options, _own, _reverseApex) = (zone._zone, zone._root, zone._options, zone._own, zone._reverseApex);
        (_services, _namespaces, _reverse4, _reverse6) = (zone._services, zone._namespaces, zone._reverse4, zone._reverse6);
        (_soa, NegativeSoa, _stale) = (zone._soa, zone.NegativeSoa, Encoding.ASCII.GetBytes(why));
    }

    /// <summary>Answers nothing: REFUSED to all.</summary>
    public static DnsZone Empty { get; } = DnsZoneBuilder.Empty();

    /// <summary>Services that are declared, ready or not, with their sites and hosts.</summary>
    public int Count => _services.Count;

    internal uint Ttl => _options.Ttl;

    internal DnsNegativeSoa NegativeSoa { get; }

    internal DnsZoneOptions Options => _options;

    internal (DnsName Zone, DnsName Root) Names => (_zone, _root);

    internal DnsTable<DnsServiceEntry> Services => _services;

    internal DnsTable<DnsNamespace> Namespaces => _namespaces;

    internal (DnsReverse V4, DnsReverse V6) Reverse => (_reverse4, _reverse6);

    /// <param name="domain">Domain of the services, e.g. <c>svc.clusterset.local</c>. The zone is its parent when its first
    /// label is <c>svc</c>, for <c>dns-version.clusterset.local</c> stands there; else the domain itself.</param>
    /// <param name="services">At most one per name and namespace.</param>
    /// <param name="serial">SOA serial: rises with every change (RFC 1982).</param>
    /// <param name="options">TTLs and more.</param>
    /// <exception cref="FormatException">A name, a port or a range breaks a rule; the message holds all such errors.</exception>
    public static DnsZone Build(string domain, IEnumerable<DnsService> services, uint serial, DnsZoneOptions options) =>
        DnsZoneBuilder.Build(domain, services, serial, options);

    /// <summary>The zone with some services changed: what is not named here stays, and is shared with this one.</summary>
    /// <param name="changed">Services that are new or different.</param>
    /// <param name="removed">Services that are no more, by name and namespace.</param>
    /// <param name="serial">SOA serial.</param>
    /// <exception cref="FormatException">As with <see cref="Build"/>.</exception>
    public DnsZone With(IReadOnlyCollection<DnsService> changed, IReadOnlyCollection<DnsService> removed, uint serial) =>
        DnsZoneBuilder.Change(this, changed, removed, serial);

    /// <summary>The same names, of which nothing is known any more: SERVFAIL for every name in the zones.</summary>
    public DnsZone Stale => _staleTwin ??= new DnsZone(this, "what this gateway knows is too old");

    /// <summary>What is at a name in wire form.</summary>
    internal DnsFound Find(scoped ReadOnlySpan<byte> name)
    {
        Span<byte> starts = stackalloc byte[DnsLimits.Labels];
        var labels = 0;
        for (var at = 0; name[at] != 0; at += name[at] + 1)
        {
            starts[labels++] = (byte)at;
        }

        starts = starts[..labels];
        var found = IsAtOrBelow(name, starts, _root) ? FindBelowRoot(name, starts)
            : IsAtOrBelow(name, starts, _zone) ? FindOwn(name, starts)
            : IsAtOrBelow(name, starts, DnsZoneBuilder.InAddrArpa) ? _reverse4.Find(name, starts, _reverseApex)
            : IsAtOrBelow(name, starts, DnsZoneBuilder.Ip6Arpa) ? _reverse6.Find(name, starts, _reverseApex)
            : default;
        if (_stale is not null && found.Place != DnsPlace.Outside)
        {
            (found.Place, found.Why, found.Code) = (DnsPlace.Failed, _stale, DnsExtendedError.NotReady);
        }

        return found;
    }

    private DnsFound FindBelowRoot(scoped ReadOnlySpan<byte> name, scoped ReadOnlySpan<byte> starts)
    {
        var relative = starts.Length - _root.LabelCount;
        if (relative == 0)
        {
            return FindOwn(name, starts);
        }

        var rootAt = name.Length - _root.Wire.Length;
        if (relative == 1)
        {
            // A namespace; or, where the zone is the domain itself, one of its own names.
            var own = FindOwn(name, starts);
            if (own.Place == DnsPlace.NoName && IsAbove(name[..rootAt]))
            {
                own.Place = DnsPlace.Name;
            }

            return own;
        }

        var found = new DnsFound { Place = DnsPlace.NoName, ZoneOffset = name.Length - _zone.Wire.Length };
        var serviceAt = relative >= 4 ? starts[relative - 4] : 0;

        // A site's name or a host's has four labels; what has an underscore there is a port of a service.
        var service = relative >= 4 && name[serviceAt + 1] != '_' ? _services.Find(name[serviceAt..rootAt]) : null;
        if (service is null)
        {
            serviceAt = starts[relative - 2];
            service = _services.Find(name[serviceAt..rootAt]);
        }

        if (service is null)
        {
            found.Place = IsAbove(name[..rootAt]) ? DnsPlace.Name : DnsPlace.NoName;
            return found;
        }

        found.Why = service.Absent;
        if (service.Set.TryFind(name[..serviceAt], out var answers)
            && (service.Absent is null || service.AbsentAnswer != AbsentAnswer.NxDomain))
        {
            found.Place = service.Absent is null || service.AbsentAnswer == AbsentAnswer.NoData ? DnsPlace.Name : DnsPlace.Failed;
            found.Set = service.Set;
            found.Answers = answers;
        }
        else if (relative == 3 && IsAbove(name[..rootAt]))
        {
            // paris.db.shop: hosts of a site stand below.
            found.Place = DnsPlace.Name;
        }

        return found;
    }

    /// <summary>Whether it only has names below it.</summary>
    private bool IsAbove(scoped ReadOnlySpan<byte> labels) => _namespaces.Find(labels) is not null;

    private DnsFound FindOwn(scoped ReadOnlySpan<byte> name, scoped ReadOnlySpan<byte> starts)
    {
        var found = new DnsFound { Place = DnsPlace.NoName, ZoneOffset = name.Length - _zone.Wire.Length };
        foreach (var node in _own)
        {
            if (Ascii.EqualsIgnoreCase(node.Name.Wire, name))
            {
                found.Place = DnsPlace.Name;
                found.Set = node.Set;
                node.Set.TryFind([], out found.Answers);
            }
        }

        return found;
    }

    /// <summary>Names here are ASCII, so that no other byte equals one of theirs.</summary>
    private static bool IsAtOrBelow(ReadOnlySpan<byte> name, ReadOnlySpan<byte> starts, DnsName ancestor)
    {
        var at = name.Length - ancestor.Wire.Length;
        return at >= 0 && !ancestor.IsRoot && starts.Contains((byte)at) && Ascii.EqualsIgnoreCase(name[at..], ancestor.Wire);
    }
}

/// <summary>A namespace with services in it, or another name above some: it exists, and holds no data.</summary>
internal sealed record DnsNamespace(byte[] Labels, int Hash, int Services) : IDnsNamed;

/// <summary>The SOA record of negative answers (RFC 2308), but for its owner: a pointer to the zone's name in the question.</summary>
/// <param name="Ttl">Seconds: the least of the SOA's own and its last field (RFC 2308 §3).</param>
/// <param name="Names">Server and mailbox in full, for zones of which they are no part.</param>
/// <param name="Server">First label of the server's name; the zone's follows.</param>
/// <param name="Mailbox">First label of the mailbox.</param>
/// <param name="Numbers">Serial to minimum, 20 bytes.</param>
internal sealed record DnsNegativeSoa(uint Ttl, byte[] Names, byte[] Server, byte[] Mailbox, byte[] Numbers)
{
    public static DnsNegativeSoa Compile(DnsName zone, DnsSoa soa, DnsZoneOptions options)
    {
        var numbers = new byte[20];
        var fields = new[] { soa.Serial, soa.Refresh, soa.Retry, soa.Expire, soa.Minimum };
        for (var i = 0; i < fields.Length; i++)
        {
            BinaryPrimitives.WriteUInt32BigEndian(numbers.AsSpan(4 * i), fields[i]);
        }

        var server = soa.PrimaryServer.Wire;
        var mailbox = soa.Mailbox.Wire;
        return new DnsNegativeSoa(
            Math.Min(options.Ttl, options.NegativeTtl), [.. server, .. mailbox],
            server[..^zone.Wire.Length].ToArray(), mailbox[..^zone.Wire.Length].ToArray(), numbers);
    }
}
