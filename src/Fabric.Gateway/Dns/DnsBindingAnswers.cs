using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Dns;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Dns;

/// <summary>Answers of types HTTPS and SVCB (RFC 9460): what is negotiated by TLS at a port, and where that is.</summary>
internal sealed partial class DnsServiceCompiler
{
    private const int HttpsPort = 443;

    /// <summary>HTTP's records are of type HTTPS (RFC 9460 §9), and a transport is no scheme: <c>_80._tcp</c> would be in the way of SRV.</summary>
    private static readonly string[] _noSchemes = ["http", "https", "tcp", "udp"];

    private static bool SpeaksHttps(DnsPort port) => port.Tcp && !port.Alpn.IsEmpty && port.Alpn.Any(a => TlsProtocols.Http.Contains(a));

    private static bool SpeaksScheme(DnsPort port) => port.Tcp && !port.Alpn.IsEmpty && port.Name is not null && !_noSchemes.Contains(port.Name, StringComparer.OrdinalIgnoreCase);

    /// <summary>HTTPS at the service's own name, for the port of https (RFC 9460 §9.1). It stands with the name's other answers.</summary>
    private void AddOwnHttps(DnsService service, byte[] labels)
    {
        if (service.Ports.FirstOrDefault(p => p.Port == HttpsPort && SpeaksHttps(p)) is { } port)
        {
            _answers.Add(Bind(DnsType.Https, service, port, labels, 0, 0));
        }
    }

    /// <summary>HTTPS at <c>_port._https</c> for other ports; SVCB at <c>_port._scheme</c> and at <c>_scheme</c>, which clients ask for that were given no port
    /// (RFC 9460 §2.3): there is one of that name.</summary>
    private void AddBindings(DnsService service, DnsPort port, byte[] labels)
    {
        if (port.Port != HttpsPort && SpeaksHttps(port))
        {
            var below = Label($"{port.Port}", "\x06_https"u8, "_");
            _answers.Add(Bind(DnsType.Https, service, port, labels, PutBelow(below, labels), below.Length));
        }

        if (SpeaksScheme(port))
        {
            var scheme = Label(port.Name!, before: "_");
            var below = Label($"{port.Port}", scheme, "_");
            var answer = Bind(DnsType.Svcb, service, port, labels, PutBelow(below, labels), below.Length);
            _answers.Add(answer);
            // The same bytes: of the question, they point to the begin alone.
            _answers.Add(answer with { BelowStart = answer.BelowStart + below.Length - scheme.Length, BelowLength = (byte)scheme.Length });
        }
    }

    /// <summary>A record whose target is the service, its address beside; of a headless service one for each host that has the port, those of the nearest
    /// site first, also by their priority.</summary>
    private DnsAnswer Bind(DnsType type, DnsService service, DnsPort port, byte[] labels, int belowStart, int belowLength)
    {
        var none = new DnsAnswer(belowStart, (byte)belowLength, DnsType.None, 0, 0, 0, 0, 0);
        if (!service.Ready)
        {
            return none;
        }

        // The service's own name says so by a dot (RFC 9460 §2.5.2), and has the address in another answer.
        var own = belowLength == 0 && service.ServiceAddress is not null;
        (byte[] Labels, IPAddress Address, int Priority)[] targets = service.ServiceAddress is { } address ? [(labels, address, 1)]
            : [.. service.Hosts.Where(h => h.Ports.Contains(port.Port)).Select(h => (HostLabels(h.Host, h.Site, service), h.Address, 1 + h.Rank))];
        ImmutableArray<string> alpn = [.. port.Alpn.Where(a => type == DnsType.Svcb || TlsProtocols.Http.Contains(a))];
        var (start, answers, additionals) = (_length, 0, 0);
        foreach (var target in targets.TakeWhile(_ => _length - start < MostBytes))
        {
            var name = own ? DnsName.Root : DnsName.FromWire([.. target.Labels, .. _root]);
            var data = new DnsServiceBinding(type, (ushort)target.Priority, name, alpn, belowLength == 0 ? null : (ushort)port.Port, target.Address);
            var writer = new DnsWriter(_scratch);
            writer.TryWriteRecord(DnsName.Root.Wire, DnsClass.Internet, _ttl, data);
            PutUInt16(DnsHead.PointerTo(0));
            Put(_scratch.AsSpan((DnsLimits.Header + 1)..writer.Length));
            answers++;
        }

        if (answers == 0)
        {
            return none;
        }

        var answerLength = _length - start;
        foreach (var target in targets.TakeWhile(_ => _length - start < MostBytes))
        {
            if (type == DnsType.Https && service.ServiceAddress is not null)
            {
                PutAddress(belowLength, target.Address.GetAddressBytes());
            }
            else
            {
                // In full: these bytes may follow a question of another length.
                Put(target.Labels);
                Put(_root);
                PutAddressData(target.Address.GetAddressBytes());
            }

            additionals++;
        }

        return new DnsAnswer(belowStart, (byte)belowLength, type, start, (ushort)answerLength, (ushort)(_length - start), (ushort)answers, (ushort)additionals);
    }
}
