using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;

namespace Fabric.Fuzzing.Dns;

/// <summary>A zone with every kind of service, and messages to start from.</summary>
internal static class DnsSamples
{
    private const string Web = "web.shop.svc.clusterset.local";

    private static readonly DnsRecord _opt = new(DnsName.Root, (DnsClass)1232, 0, new DnsOpt([]));

    public static DnsZone Zone { get; } = DnsZone.Build(
        "svc.clusterset.local",
        [
            new("web", "shop", IPAddress.Parse("127.64.3.9"),
                [new("http", 80, true), new("https", 443, true) { Alpn = ["h2", "http/1.1"] }, new("dns", 53, false), new("admin", 8443, true) { Alpn = ["h2"] }], true),
            new("db", "shop", IPAddress.Parse("fd00::7"), [new(null, 5432, true)], true),
            new("idle", "shop", IPAddress.Parse("127.64.3.10"), [new("http", 80, true)], false) { Why = "no site can serve idle.shop" },
        ],
        42,
        new DnsZoneOptions { ReverseRanges = [IPNetwork.Parse("127.64.0.0/16")], ServerAddresses = [IPAddress.Parse("127.0.0.5")] });

    public static DnsMessage Query(string name, DnsType type, params DnsOption[] options) => new()
    {
        Id = 0xABCD,
        Flags = DnsFlags.RecursionDesired,
        Questions = [new DnsQuestion(DnsName.Parse(name), type, DnsClass.Internet)],
        Additionals = [_opt with { Data = new DnsOpt([.. options]) }],
    };

    public static DnsMessage[] Queries { get; } =
    [
        Query(Web, DnsType.A), Query(Web, DnsType.A) with { Additionals = [] }, Query("wEb.sHoP.svc.clusterset.local", DnsType.Aaaa),
        Query("_http._tcp." + Web, DnsType.Srv), Query("_8443._https." + Web, DnsType.Https), Query("_8443._admin." + Web, DnsType.Svcb), Query("idle.shop.svc.clusterset.local", DnsType.A),
        Query("9.3.64.127.in-addr.arpa", DnsType.Ptr),
        Query("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DnsType.Ptr),
        Query("clusterset.local", DnsType.Any, new DnsOption(10, [1, 2, 3, 4, 5, 6, 7, 8])),
        Query("dns-version.clusterset.local", DnsType.Txt, new DnsOption(3, []), new DnsOption(10, [.. new byte[24]]), new DnsOption(11, []), new DnsOption(12, [.. new byte[30]])),
        Query("clusterset.local", DnsType.Axfr), Query("example.com", DnsType.A, new DnsOption(8, [0, 1, 0, 0])), Query("example.com", DnsType.A) with { Flags = DnsFlags.None },
        Query(Web, DnsType.A) with { Opcode = DnsOpcode.Update }, Query(Web, DnsType.A) with { Additionals = [_opt with { Ttl = 1 << 16 }] },
        Query(string.Join('.', Enumerable.Repeat("a", 110)) + ".clusterset.local", DnsType.A),
    ];

    /// <summary>What others may answer to <see cref="Query"/> of that name.</summary>
    public static DnsMessage[] Replies(DnsMessage query)
    {
        var name = query.Questions[0].Name;
        var alias = DnsName.Parse("a.shop.example");
        DnsRecord Of(DnsName owner, DnsData data) => new(owner, DnsClass.Internet, 300, data);
        var soa = Of(DnsName.Parse("example"), new DnsSoa(DnsName.Parse("ns.example"), DnsName.Parse("h.example"), 1, 2, 3, 4, 60));
        var reply = new DnsMessage
        {
            Id = query.Id,
            Flags = DnsFlags.Response | DnsFlags.RecursionAvailable,
            Questions = query.Questions,
            Additionals = [_opt],
        };
        return
        [
            reply with { Answers = [Of(name, new DnsAddress(IPAddress.Parse("192.0.2.1")))] },
            reply with { Rcode = DnsRcode.NxDomain, Authorities = [soa] },
            reply with { Authorities = [soa] },
            reply with { Flags = DnsFlags.Response | DnsFlags.Truncated },
            reply with { Rcode = DnsRcode.ServFail },
            reply with
            {
                Answers = [Of(name, new DnsTarget(DnsType.Cname, alias)), Of(alias, new DnsAddress(IPAddress.Parse("192.0.2.1"))), Of(alias, new DnsAddress(IPAddress.Parse("192.0.2.2")))],
                Authorities = [Of(DnsName.Parse("example"), new DnsTarget(DnsType.Ns, DnsName.Parse("ns.example")))],
            },
            reply with { Answers = [Of(DnsName.Parse("example"), new DnsOpaque((DnsType)39, [0])), Of(name, new DnsTarget(DnsType.Cname, alias))] },
            reply with { Answers = [.. Enumerable.Range(0, 100).Select(i => Of(name, new DnsAddress(new IPAddress([192, 0, 2, (byte)i]))))] },
        ];
    }

    public static byte[] Bytes(this DnsMessage message)
    {
        var buffer = new byte[DnsLimits.Tcp];
        return buffer[..message.Write(buffer)];
    }

    /// <summary>Behind two length octets each.</summary>
    public static byte[] Framed(params IEnumerable<DnsMessage> messages) => [.. messages.SelectMany(m =>
    {
        var bytes = m.Bytes();
        return new[] { (byte)(bytes.Length >> 8), (byte)bytes.Length }.Concat(bytes);
    })];

    /// <summary>Types that differ in what is done with them.</summary>
    public static int TypeOf(DnsType type) => Enum.IsDefined(type) ? (int)type : -1;

    public static ImmutableArray<int> Sections(DnsMessage message) =>
        [Math.Min(3, message.Answers.Length), Math.Min(3, message.Authorities.Length), Math.Min(3, message.Additionals.Length)];
}
