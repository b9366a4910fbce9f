using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Lan;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Tests.Lan;

/// <summary>A network of 10.0.0.0/24 without time of its own: what one host sends, all hear at once, the sender too.</summary>
internal sealed class LanBus
{
    private readonly List<(LanSpeaker Speaker, IPEndPoint At)> _hosts = [];
    private readonly Queue<(byte[] Bytes, IPEndPoint From, IPEndPoint To)> _onTheWay = new();

    public TimeSpan Now { get; private set; } = TimeSpan.FromSeconds(100);

    /// <summary>All that was sent, and when.</summary>
    public List<(TimeSpan At, DnsMessage Message, IPEndPoint From, IPEndPoint To)> Sent { get; } = [];

    public static LanNetworks Networks(string address) =>
        new(7, [(IPAddress.Parse(address), IPNetwork.Parse("10.0.0.0/24"))]);

    public static LanIdentity Named(string gateway = "edge-1") => new(gateway, "edge", "acme.example", 7443);

    public LanSpeaker Join(string address, LanIdentity? identity = null, params string[] types) => Join(Networks(address), identity, types);

    /// <summary>At the first address of these.</summary>
    public LanSpeaker Join(LanNetworks networks, LanIdentity? identity = null, params string[] types)
    {
        var at = new IPEndPoint(networks.Own[0].Address, 5353);
        var speaker = new LanSpeaker(networks, new LanWishes(identity, [.. types]), new Random(at.Address.ToString().Length + _hosts.Count), (m, to) => Send(m, at, to));
        _hosts.Add((speaker, at));
        speaker.Start(Now);
        return speaker;
    }

    public void Leave(LanSpeaker speaker) => _hosts.RemoveAll(h => h.Speaker == speaker);

    /// <summary>From a host that is no speaker.</summary>
    public void Send(DnsMessage message, string from, int port = 5353, string? to = null)
    {
        Send(message, new IPEndPoint(IPAddress.Parse(from), port), to is null ? new IPEndPoint(IPAddress.Parse("224.0.0.251"), 5353) : IPEndPoint.Parse(to));
        Deliver();
    }

    /// <summary>Lets time pass, each speaker doing what is due when it is due.</summary>
    public void Advance(TimeSpan by)
    {
        for (var end = Now + by; ;)
        {
            Deliver();
            var next = _hosts.Select(h => h.Speaker.Due).Min() is { } due && due < end ? due : end;
            Now = next > Now ? next : Now;
            foreach (var (speaker, _) in _hosts.ToList())
            {
                speaker.Turn(Now);
            }

            Deliver();
            if (Now >= end)
            {
                return;
            }
        }
    }

    public void Advance(double seconds) => Advance(TimeSpan.FromSeconds(seconds));

    private void Send(DnsMessage message, IPEndPoint from, IPEndPoint to)
    {
        Sent.Add((Now, message, from, to));
        var bytes = new byte[9000];
        _onTheWay.Enqueue((bytes[..message.Write(bytes)], from, to));
        Assert.True(Sent.Count < 10_000, "they do not stop");
    }

    private void Deliver()
    {
        while (_onTheWay.TryDequeue(out var message))
        {
            foreach (var (speaker, at) in _hosts.ToList())
            {
                if (message.To.Address.Equals(at.Address) || message.To.Address.ToString() == "224.0.0.251")
                {
                    speaker.Receive(message.Bytes, message.From, Now);
                }
            }
        }
    }
}
