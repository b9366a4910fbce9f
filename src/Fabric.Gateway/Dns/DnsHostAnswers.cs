using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>Answers of headless services: as many records as there are hosts, those of the nearest site first.</summary>
internal sealed partial class DnsServiceCompiler
{
    /// <summary>Additional records come up to here, and no further: an answer with its question, OPT and padding fits into a message over TCP.</summary>
    private const int MostBytes = 60_000;

    /// <summary>The addresses of a name: the service's own, or those of its hosts.</summary>
    private ushort PutAddresses(int nameOffset, DnsService service, ReadOnlySpan<byte> own)
    {
        if (service.ServiceAddress is not null)
        {
            PutAddress(nameOffset, own);
            return 1;
        }

        foreach (var host in service.Hosts)
        {
            PutAddress(nameOffset, host.Address.GetAddressBytes());
        }

        return (ushort)service.Hosts.Length;
    }

    /// <summary>A target for each host that has the port, with its address beside. Resolvers shuffle records: it is the priority that tells which are near.</summary>
    private void AddHostSrv(DnsService service, DnsPort port, byte[] below, int labelsLength, int belowStart)
    {
        var (start, answers, additionals) = (_length, 0, 0);
        var hosts = service.Hosts.Where(h => h.Ports.Contains(port.Port)).Select(h => (Host: h, Labels: HostLabels(h.Host, h.Site, service))).ToList();
        foreach (var (host, labels) in hosts)
        {
            PutUInt16(DnsHead.PointerTo(0));
            PutHead(DnsType.Srv, _ttl, 6 + labels.Length + _root.Length);
            PutUInt16(host.Rank);
            PutUInt16(0);
            PutUInt16((ushort)port.Port);
            Put(labels);
            Put(_root);
            answers++;
        }

        if (answers == 0)
        {
            _answers.Add(new DnsAnswer(belowStart, (byte)below.Length, DnsType.None, 0, 0, 0, 0, 0));
            return;
        }

        var answerLength = _length - start;
        foreach (var (host, labels) in hosts.TakeWhile(_ => _length - start < MostBytes))
        {
            // Its owner: the host's labels, then the domain, which is where the question's name ends.
            Put(labels);
            PutAddress(below.Length + labelsLength, host.Address.GetAddressBytes());
            additionals++;
        }

        _answers.Add(new DnsAnswer(
            belowStart, (byte)below.Length, DnsType.Srv, start, (ushort)answerLength, (ushort)(_length - start), (ushort)answers, (ushort)additionals));
    }
}
