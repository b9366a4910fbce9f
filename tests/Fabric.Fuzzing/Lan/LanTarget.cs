using System.Collections.Immutable;
using System.Net;
using Fabric.Fuzzing.Dns;
using Fabric.Gateway.Lan;
using Fabric.Protocol.Dns;

namespace Fabric.Fuzzing.Lan;

/// <summary>
/// A message of multicast DNS, at a gateway that announces and looks for services, and that has heard the inputs before it: what is found is of the
/// network, tables keep to their limits, and one message has few sent.
/// </summary>
internal sealed class LanTarget : FuzzTarget
{
    private static readonly IPNetwork _range = IPNetwork.Parse("10.0.0.0/24");
    private static readonly IPNetwork _six = IPNetwork.Parse("fd77::/64");
    private static readonly IPEndPoint _from = new(IPAddress.Parse("10.0.0.9"), 5353);

    private readonly LanSpeaker _speaker;
    private TimeSpan _now = TimeSpan.FromSeconds(1);
    private int _sent;
    private int _inputs;

    public LanTarget()
    {
        var networks = new LanNetworks(1, [(IPAddress.Parse("10.0.0.1"), _range), (IPAddress.Parse("fd77::1"), _six)]);
        _speaker = new LanSpeaker(networks, new LanWishes(new LanIdentity("edge-1", "edge", "acme.example", 7443), ["_fabric._tcp", "_http._tcp"]), new Random(1), (message, _) =>
        {
            _sent++;
            Must(message.Write(new byte[Mdns.MaxMessage]) <= Mdns.MaxSent, "what is sent passes an Ethernet whole");
        });
        _speaker.Start(_now);
    }

    public override string Name => "mdns";

    public override byte[][] Seeds
    {
        get
        {
            var (own, instance, host) = (Mdns.WithTopBit(DnsClass.Internet), DnsName.Parse("c._http._tcp.local"), DnsName.Parse("c.local"));
            ImmutableArray<DnsRecord> whole =
            [
                new(Mdns.TypeName("_http._tcp"), DnsClass.Internet, 4500, new DnsTarget(DnsType.Ptr, instance)), new(instance, own, 120, new DnsSrv(0, 0, 80, host)),
                new(instance, own, 4500, new DnsTxt(["a=b"])), new(host, own, 120, new DnsAddress(IPAddress.Parse("10.0.0.7"))), new(host, own, 120, new DnsAddress(IPAddress.Parse("fd77::7"))),
                Mdns.Only(host, 120, DnsType.A, DnsType.Aaaa),
            ];
            DnsMessage[] messages =
            [
                new() { Flags = DnsFlags.Response, Answers = whole },
                new() { Flags = DnsFlags.Response, Answers = [whole[0]], Additionals = whole[1..] },
                new() { Flags = DnsFlags.Response, Answers = [.. whole.Select(r => r with { Ttl = 0 })] },
                new() { Questions = [new(Mdns.Fabric, DnsType.Ptr, DnsClass.Internet)], Answers = [new(Mdns.Fabric, DnsClass.Internet, 4500, new DnsTarget(DnsType.Ptr, Mdns.Fabric.Prepend("edge-1")))] },
                new() { Questions = [new(Mdns.Fabric.Prepend("edge-1"), DnsType.Any, own)], Authorities = [new(Mdns.Fabric.Prepend("edge-1"), DnsClass.Internet, 120, new DnsSrv(9, 9, 9, host))] },
                new() { Flags = DnsFlags.Truncated, Questions = [new(Mdns.Types, DnsType.Ptr, DnsClass.Internet), new(DnsName.Parse("fabric-edge-1.local"), DnsType.A, own)] },
                new() { Flags = DnsFlags.Response, Answers = [new(DnsName.Parse("fabric-edge-1.local"), own, 120, new DnsAddress(IPAddress.Parse("10.0.0.66")))] },
            ];
            return [.. messages.Select(m => m.Bytes())];
        }
    }

    public override ulong Read(byte[] input)
    {
        // From now and then a plain client; and time passes, so that things become due and over.
        var from = _inputs++ % 7 == 0 ? new IPEndPoint(_from.Address, 40_000) : _from;
        (_sent, _now) = (0, _now + TimeSpan.FromMilliseconds(20));
        var before = _speaker.Found.Length;
        var changed = _speaker.Receive(input, from, _now);
        var answered = _sent;
        _speaker.Turn(_now);
        Must(_sent <= 2 + LanBrowser.MaxQuestions, $"{_sent} messages for one");
        Must(_speaker.Found.Length <= 2 * LanBrowser.MaxInstances, "tables keep to their limits");
        foreach (var found in _speaker.Found)
        {
            Must(found.Addresses.Length is > 0 and <= LanBrowser.MaxAddresses && found.Addresses.All(a => _range.Contains(a) || _six.Contains(a)) && found.Port > 0, "what is found is of the network");
            Must(found.Host.EndsWith(".local", StringComparison.OrdinalIgnoreCase) && found.Text.Length <= LanBrowser.MaxText, "names are of the network");
        }

        return Way(
            changed ? 1 : 0, Math.Sign(_speaker.Found.Length - before), Math.Min(2, answered), _speaker.AnnouncedAs.Length > 0 ? 1 : 0, from.Port == 5353 ? 1 : 0,
            DnsMessage.TryRead(input, out var message) ? 1 + Math.Min(2, message.Questions.Length) * 4 + (int)(message.Flags & DnsFlags.Response) : 0);
    }
}
