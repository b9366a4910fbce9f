using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>One zone with every kind of service, and how to ask it.</summary>
internal static class DnsFixtures
{
    public const string Domain = "svc.clusterset.local";

    public static readonly DnsRecord Opt = new(DnsName.Root, (DnsClass)1232, 0, new DnsOpt([]));

    public static readonly DnsService[] Services =
    [
        new(
            "web", "shop", IPAddress.Parse("127.64.3.9"),
            [
                new("http", 80, true), new("https", 443, true) { Alpn = ["h2", "http/1.1"] }, new("dns", 53, false),
                new("admin", 8443, true) { Alpn = ["h2"] }, new("mqtt", 8883, true) { Alpn = ["mqtt"] },
            ],
            true),
        new("db", "shop", IPAddress.Parse("fd00::7"), [new(null, 5432, true)], true),
        new("idle", "shop", IPAddress.Parse("127.64.3.10"), [new("http", 80, true)], false)
        {
            Why = "no site can serve idle.shop: paris has no healthy endpoint",
        },
        new("cache", "shop", IPAddress.Parse("127.64.3.11"), [new("http", 80, true)], true) { Site = "paris" },
        new("pg", "shop", IPAddress.Parse("127.64.3.12"), [], true) { Site = "paris", Host = "pg-0" },
        new("pg", "shop", IPAddress.Parse("127.64.3.13"), [], true) { Site = "lima", Host = "pg-0" },
        new("pg", "shop", null, [new("pg", 5432, true) { Alpn = ["postgresql"] }], true)
        {
            Hosts =
            [
                new("pg-0", "paris", IPAddress.Parse("127.64.3.12"), 0, [5432]),
                new("pg-0", "lima", IPAddress.Parse("127.64.3.13"), 1, [5432]),
            ],
        },
    ];

    public static DnsZone Zone(IEnumerable<DnsService>? services = null, DnsZoneOptions? options = null) => DnsZone.Build(
        Domain, services ?? Services, 42,
        options ?? new DnsZoneOptions
        {
            ReverseRanges = [IPNetwork.Parse("127.64.0.0/16")],
            ServerAddresses = [IPAddress.Parse("127.0.0.5")],
        });

    public static DnsMessage Query(string name, DnsType type) => new()
    {
        Id = 0xABCD,
        Flags = DnsFlags.RecursionDesired,
        Questions = [new DnsQuestion(DnsName.Parse(name), type, DnsClass.Internet)],
    };

    public static byte[] Bytes(this DnsMessage message)
    {
        var buffer = new byte[DnsLimits.Tcp];
        return buffer[..message.Write(buffer)];
    }

    public static DnsMessage Read(ReadOnlySpan<byte> bytes)
    {
        Assert.True(DnsMessage.TryRead(bytes, out var message), Convert.ToHexString(bytes));
        return message;
    }

    public static DnsMessage Ask(this DnsZone zone, string name, DnsType type) => zone.Ask(Query(name, type));

    public static DnsMessage Ask(
        this DnsZone zone, DnsMessage query, DnsTransport transport = DnsTransport.Udp, DnsGuard? guard = null)
    {
        var response = new byte[transport == DnsTransport.Udp ? DnsResponder.UdpBuffer : DnsLimits.Tcp];
        var length = DnsResponder.Respond(zone, query.Bytes(), response, new DnsAsker(transport, [192, 0, 2, 1], guard), out var rcode);
        var message = Read(response.AsSpan(0, length));
        Assert.Equal((query.Id, query.Opcode, rcode), (message.Id, message.Opcode, message.Rcode));
        Assert.True((message.Flags & DnsFlags.Response) != 0);
        Assert.Equal(query.Opt is not null, message.Opt is not null);
        return message;
    }
}
