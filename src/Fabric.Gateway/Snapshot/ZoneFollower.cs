using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Routing.Sites;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// Makes the DNS zone follow topology, service addresses and choices. What did not change is not compiled again: a service that loses
/// its last site costs the same among ten and among 100,000. For the state loop's thread alone.
/// </summary>
/// <param name="withdrawn">Services that answer as if no site could serve them: a drill's word. Default: none.</param>
internal sealed class ZoneFollower(TimeProvider time, Func<string, bool>? withdrawn = null)
{
    private readonly PlaceNames _places = new();
    private Dictionary<string, Known> _known = new(StringComparer.Ordinal);
    private Frame? _frame;
    private DnsZone _zone = DnsZone.Empty;
    private uint _serial;

    /// <summary>The order of sites of headless services, by service.</summary>
    public ImmutableDictionary<string, ImmutableArray<string>> HostOrder => _places.Orders;

    /// <summary>The zone for these choices; the same object as before when it answers the same.</summary>
    public DnsZone Follow(FabricSnapshot now, ImmutableDictionary<(string Service, int Port), SiteChoice> choices)
    {
        var frame = new Frame(now.Topology.Domain, now.Topology.Dns.Absent, now.Self.Dns.Address, now.ServiceRange);
        var known = new Dictionary<string, Known>(now.Topology.Services.Length, StringComparer.Ordinal);
        var changed = new List<DnsService>();
        foreach (var service in now.Topology.Services)
        {
            if (service.Headless || service.SiteNames)
            {
                foreach (var place in _places.Of(now, service, choices))
                {
                    var name = place.FullName;
                    var old = _known.GetValueOrDefault(name);
                    var isSame = place.Equals(old?.Service);
                    known.Add(name, isSame ? old! : new Known(service, place));
                    if (!isSame)
                    {
                        changed.Add(place);
                    }
                }
            }

            if (!now.Addresses.TryGetValue(service.FullName, out var address))
            {
                continue;
            }

            var why = withdrawn?.Invoke(service.FullName) == true ? $"a drill withdrew {service.FullName}" : Why(service, choices);
            var before = _known.GetValueOrDefault(service.FullName);
            var same = before is not null && ReferenceEquals(before.Declared, service) && before.Service.Why == (why ?? "")
                && before.Service.Ready == why is null && address.Equals(before.Service.ServiceAddress);
            var next = same ? before! : new Known(service, Service(service, address, why));
            known.Add(service.FullName, next);
            if (!same && !next.Service.Equals(before?.Service))
            {
                changed.Add(next.Service);
            }
        }

        var removed = _known.Where(k => !known.ContainsKey(k.Key)).Select(k => k.Value.Service).ToList();
        var renewed = frame != _frame;
        (_known, _frame) = (known, frame);
        if (!renewed && changed.Count == 0 && removed.Count == 0)
        {
            return _zone;
        }

        // It rises from start to start as well: a resolver that looks at it sees no step back (RFC 1982).
        _serial = Math.Max(_serial + 1, (uint)time.GetUtcNow().ToUnixTimeSeconds());
        _zone = !renewed
            ? _zone.With(changed, removed, _serial)
            : DnsZone.Build(frame.Domain, known.Values.Select(k => k.Service), _serial, new DnsZoneOptions
            {
                Absent = frame.Absent,
                ServerAddresses = [frame.Server],
                ReverseRanges = [frame.Range],
            });
        return _zone;
    }

    private static DnsService Service(Service service, IPAddress address, string? why) => new(
        service.Name, service.Namespace, address, PlaceNames.Ports(service), why is null)
    {
        Why = why ?? "",
    };

    /// <summary>Why no site can serve any of its ports; null: one can. It holds no figure that moves from turn to turn.</summary>
    private static string? Why(Service service, ImmutableDictionary<(string Service, int Port), SiteChoice> choices)
    {
        foreach (var port in service.Ports)
        {
            if (choices[(service.FullName, port.Port)].Chosen is not null)
            {
                return null;
            }
        }

        var sites = service.Ports.SelectMany(p => choices[(service.FullName, p.Port)].Candidates).Select(PlaceNames.Why).Distinct();
        return $"no site can serve {service.FullName}: {string.Join(", ", sites)}";
    }

    private sealed record Known(Service Declared, DnsService Service);

    /// <summary>What all names depend on.</summary>
    private sealed record Frame(string Domain, AbsentAnswer? Absent, IPAddress Server, IPNetwork Range);
}
