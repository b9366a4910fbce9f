using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>
/// Queries from which mutations start: one for each thing that a server reads. An input that once did harm is added here as it was.
/// </summary>
internal static class DnsCorpus
{
    private const string Web = "web.shop.svc.clusterset.local";

    public static byte[][] Queries { get; } = [.. Messages().Select(m => m.Bytes()), .. Raw.Select(Convert.FromHexString)];

    private static string[] Raw =>
    [
        // No question, one that ends early, one that points to itself, one with the longest label and no end.
        "000100000000000000000000", "000100000001000000000000", "000100000001000000000000C00C00010001",
        "0001000000010000000000003F" + new string('6', 126), "00010000000100000000000041" + new string('6', 130),
        // Counts that promise more than there is; all bits set.
        "00010000FFFFFFFFFFFFFFFF", "0001000000010000000000FF000001000100002904D0000000000000", "FFFFFFFFFFFFFFFFFFFFFFFF",
        // OPT of OPT's own type as a question, an OPT whose option is longer than its data, two OPTs.
        "0001000000010000000000010000290001000029020000000000000400030010",
        "00010000000100000000000200000100010000290200000000000000000029020000000000000000".PadRight(80, '0')[..80],
        // A cookie of 7 bytes; no question and a cookie.
        "000100000001000000000001000001000100002904D0000000000000000B000A000701020304050607",
        "00010000000000000000000100002904D0000000000000000C000A00080102030405060708",
    ];

    private static IEnumerable<DnsMessage> Messages()
    {
        DnsRecord With(params DnsOption[] options) => Opt with { Data = new DnsOpt([.. options]) };
        yield return Query(Web, DnsType.A);
        yield return Query("wEb.sHoP.svc.clusterset.local", DnsType.Aaaa) with { Additionals = [Opt] };
        yield return Query("_http._tcp." + Web, DnsType.Srv) with { Additionals = [Opt with { Ttl = 0x8000 }] };
        yield return Query("_8443._https." + Web, DnsType.Https);
        yield return Query("cache.shop.paris.site.svc.clusterset.local", DnsType.A);
        yield return Query("_pg._tcp.pg.shop.svc.clusterset.local", DnsType.Srv);
        yield return Query("pg-0.lima.pg.shop.svc.clusterset.local", DnsType.A);
        yield return Query("idle.shop.svc.clusterset.local", DnsType.A) with { Additionals = [Opt] };
        yield return Query("9.3.64.127.in-addr.arpa", DnsType.Ptr);
        yield return Query("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DnsType.Ptr);
        yield return Query("clusterset.local", DnsType.Any) with { Additionals = [With(new DnsOption(10, [1, 2, 3, 4, 5, 6, 7, 8]))] };
        yield return Query("dns-version.clusterset.local", DnsType.Txt) with
        {
            Additionals = [With(new DnsOption(3, []), new DnsOption(10, [.. new byte[24]]), new DnsOption(12, [.. new byte[30]]))],
        };
        yield return Query("clusterset.local", DnsType.Axfr);
        yield return Query("example.com", DnsType.A) with { Additionals = [With(new DnsOption(8, [0, 1, 0, 0]))] };
        yield return Query(Web, DnsType.A) with { Opcode = DnsOpcode.Update };
        yield return Query(Web, DnsType.A) with { Additionals = [Opt with { Ttl = 1 << 16 }] };
        yield return Query(string.Join('.', Enumerable.Repeat("a", 110)) + ".clusterset.local", DnsType.A);
    }
}
