using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Fabric.Gateway.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>What other people's clients read: kdig (Knot) and dig (BIND), over loopback.</summary>
public sealed class DnsClientTests : IAsyncLifetime
{
    private const string Web = "web.shop.svc.clusterset.local";
    private const string Zone = "clusterset.local";
    private static readonly DnsZone TheZone = DnsFixtures.Zone();

    private readonly DnsServer _server =
        new(new DnsServerOptions { Listen = [new IPEndPoint(IPAddress.Loopback, 0)], Identifier = "paris-1" }, () => TheZone, TimeProvider.System);

    public Task InitializeAsync()
    {
        _server.Start();
        return Task.CompletedTask;
    }

    public Task DisposeAsync() => _server.DisposeAsync().AsTask();

    [RequiresTheory("kdig")]
    [InlineData("+short " + Web + " A", "^127\\.64\\.3\\.9$")]
    [InlineData("+short +tcp " + Web + " A", "^127\\.64\\.3\\.9$")]
    [InlineData("+short db.shop.svc.clusterset.local AAAA", "^fd00::7$")]
    [InlineData("+short _http._tcp." + Web + " SRV", "^0 0 80 web\\.shop\\.svc\\.clusterset\\.local\\.$")]
    [InlineData("_http._tcp." + Web + " SRV", "ADDITIONAL: 1$[\\s\\S]*^web\\.shop\\.svc[a-z.]+\\s+5\\s+IN\\s+A\\s+127\\.64")]
    [InlineData("+short cache.shop.paris.site.svc.clusterset.local A", "^127\\.64\\.3\\.11$")]
    [InlineData("+short _http._tcp.cache.shop.paris.site.svc.clusterset.local SRV", "^0 0 80 cache\\.shop\\.paris\\.site\\.svc[a-z.]+$")]
    [InlineData("+short pg.shop.svc.clusterset.local A", "^127\\.64\\.3\\.12\n127\\.64\\.3\\.13$")]
    [InlineData("+short pg-0.lima.pg.shop.svc.clusterset.local A", "^127\\.64\\.3\\.13$")]
    [InlineData("+short _pg._tcp.pg.shop.svc.clusterset.local SRV",
        "^0 0 5432 pg-0\\.paris\\.pg\\.shop\\.svc[a-z.]+\n1 0 5432 pg-0\\.lima\\.pg\\.shop\\.svc[a-z.]+$")]
    [InlineData("_pg._tcp.pg.shop.svc.clusterset.local SRV", "ADDITIONAL: 2$[\\s\\S]*^pg-0\\.lima\\.pg\\.shop\\.svc[a-z.]+\\s+1\\s+IN\\s+A\\s+127\\.64\\.3\\.13")]
    [InlineData("+short dns-version.clusterset.local TXT", "^\"1\\.0\\.0\"$")]
    [InlineData("+short -x 127.64.3.9", "^web\\.shop\\.svc\\.clusterset\\.local\\.$")]
    [InlineData("+short " + Zone + " NS", "^ns\\.clusterset\\.local\\.$")]
    [InlineData("+edns " + Web + " A", "Version: 0; flags: ; UDP size: 1232 B; ext-rcode: NOERROR")]
    [InlineData("+edns=1 " + Web + " A", "status: BADVERS|ext-rcode: BADVERS")]
    [InlineData("nothing." + Web + " A", "NXDOMAIN;[\\s\\S]*Flags: qr aa rd;[\\s\\S]*^clusterset[a-z.]+\\s+1\\s+IN\\s+SOA")]
    [InlineData(Web + " AAAA", "status: NOERROR;[\\s\\S]*ANSWER: 0; AUTHORITY: 1;[\\s\\S]*SOA")]
    [InlineData("idle.shop.svc.clusterset.local A", "status: NOERROR;[\\s\\S]*ANSWER: 0; AUTHORITY: 1;[\\s\\S]*SOA")]
    [InlineData("example.com A", "status: REFUSED")]
    [InlineData("version.bind CH TXT", "status: REFUSED")]
    [InlineData(Web + " ANY", "ANSWER: 1;[\\s\\S]*IN\\s+HINFO\\s+\"RFC8482\" \"\"")]
    [InlineData("+short " + Web + " HTTPS", "^1 \\. alpn=h2 ipv4hint=127\\.64\\.3\\.9$")]
    [InlineData("+short _8443._https." + Web + " HTTPS", "^1 web[a-z.]+ alpn=h2 no-default-alpn=? port=8443 ipv4hint=127\\.64\\.3\\.9$")]
    [InlineData("_8443._https." + Web + " HTTPS", "ADDITIONAL: 1$[\\s\\S]*^web\\.shop\\.svc[a-z.]+\\s+5\\s+IN\\s+A\\s+127\\.64")]
    [InlineData("+short _8883._mqtt." + Web + " SVCB", "^1 web\\.shop\\.svc[a-z.]+ alpn=mqtt port=8883 ipv4hint=127\\.64\\.3\\.9$")]
    [InlineData("+short _mqtt." + Web + " SVCB", "^1 web\\.shop\\.svc[a-z.]+ alpn=mqtt port=8883 ipv4hint=127\\.64\\.3\\.9$")]
    [InlineData("_8883._mqtt." + Web + " SVCB", "ADDITIONAL: 1$[\\s\\S]*^web\\.shop\\.svc[a-z.]+\\s+5\\s+IN\\s+A\\s+127\\.64")]
    [InlineData("_mqtt." + Web + " SVCB", "ADDITIONAL: 1$[\\s\\S]*^web\\.shop\\.svc[a-z.]+\\s+5\\s+IN\\s+A\\s+127\\.64")]
    [InlineData("+short _admin." + Web + " SVCB", "^1 web\\.shop\\.svc[a-z.]+ alpn=h2 port=8443 ipv4hint=127\\.64\\.3\\.9$")]
    [InlineData("_8883._mqtt." + Web + " HTTPS", "status: NOERROR;[\\s\\S]*ANSWER: 0; AUTHORITY: 1;")]
    [InlineData("_8883._https." + Web + " HTTPS", "status: NXDOMAIN")]
    [InlineData("_443._https." + Web + " SVCB", "status: NXDOMAIN")]
    [InlineData("+short _5432._pg.pg.shop.svc.clusterset.local SVCB",
        "^1 pg-0\\.paris\\.pg\\.shop\\.svc[a-z.]+ alpn=postgresql port=5432 ipv4hint=127\\.64\\.3\\.12\n2 pg-0\\.lima[a-z.]+ alpn=postgresql port=5432 ipv4hint=127\\.64\\.3\\.13$")]
    [InlineData("_pg.pg.shop.svc.clusterset.local SVCB", "ADDITIONAL: 2$[\\s\\S]*^pg-0\\.lima\\.pg\\.shop\\.svc[a-z.]+\\s+1\\s+IN\\s+A\\s+127\\.64\\.3\\.13")]
    [InlineData("+edns +cookie " + Web + " A", "COOKIE: [0-9A-F]{16}01000000[0-9A-F]{24}")]
    [InlineData("+edns +nsid " + Web + " A", "NSID: [^\\n]*paris-1")]
    [InlineData("+edns idle.shop.svc.clusterset.local A", "EDE: 0 [^\\n]*no site can serve idle\\.shop")]
    [InlineData("+edns example.com A", "status: REFUSED")]
    [InlineData(Web + " TYPE65399", "status: NOERROR;[\\s\\S]*ANSWER: 0; AUTHORITY: 1;")]
    public async Task Kdig_reads(string arguments, string expected) => await Expect("kdig", arguments, expected);

    [RequiresFact("kdig")]
    public async Task Kdig_keeps_a_connection_open_for_more_than_one_query() =>
        await Expect("kdig", $"+tcp +keepopen +short {Web} A dns-version.{Zone} TXT", "^127\\.64\\.3\\.9\n\"1\\.0\\.0\"$");

    // The queries of ISC's EDNS compliance list, with what it expects.
    [RequiresTheory("dig")]
    [InlineData("+norec +noedns", "NOERROR", true, false, "")]
    [InlineData("+norec +edns=0", "NOERROR", true, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +edns=100 +noednsneg", "BADVERS", false, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +ednsopt=100", "NOERROR", true, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +ednsflags=0x80", "NOERROR", true, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +dnssec", "NOERROR", true, true, "EDNS: version: 0, flags: do;")]
    [InlineData("+norec +edns=100 +noednsneg +ednsopt=100", "BADVERS", false, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +edns=100 +noednsneg +ednsflags=0x80", "BADVERS", false, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +opcode=15 +noedns +header-only", "NOTIMP", false, false, "")]
    [InlineData("+norec +opcode=15", "NOTIMP", false, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +tcp", "NOERROR", true, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +tcp +keepalive", "NOERROR", true, true, "; TCP KEEPALIVE: 10.0 secs")]
    [InlineData("+norec +keepalive", "NOERROR", true, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +cookie", "NOERROR", true, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +nsid +subnet=0.0.0.0/0 +expire", "NOERROR", true, true, "EDNS: version: 0, flags:;")]
    [InlineData("+norec +zflag", "NOERROR", true, true, "flags: qr aa; QUERY: 1")]
    [InlineData("+norec +adflag", "NOERROR", true, true, "flags: qr aa; QUERY: 1")]
    public async Task Dig_finds_EDNS_as_ISC_asks(string arguments, string status, bool soa, bool opt, string contains)
    {
        var output = await Run("dig", $"{arguments} {Zone} SOA");
        Assert.Contains($"status: {status},", output);
        Assert.True(soa == Regex.IsMatch(output, "IN\\s+SOA\\s+ns\\.clusterset\\.local"), output);
        Assert.True(opt == output.Contains("OPT PSEUDOSECTION"), output);
        Assert.Contains(contains, output);
        Assert.DoesNotContain("OPT=", output);
        // dig sends a cookie along whenever it speaks EDNS; what refuses is not to be longer than the query.
        Assert.Equal(
            opt && status == "NOERROR", Regex.IsMatch(output, "^; COOKIE: [0-9a-f]{16}01000000[0-9a-f]{24} \\(good\\)", RegexOptions.Multiline));
        Assert.DoesNotContain("MBZ", output);
        Assert.DoesNotContain("malformed", output);
    }

    [RequiresFact("dig")]
    public async Task Dig_finds_no_keys_within_512_bytes() =>
        await Expect(
            "dig", $"+norec +dnssec +bufsize=512 +ignore {Zone} DNSKEY", "status: NOERROR,[\\s\\S]*flags: do; udp: 1232");

    [RequiresTheory("dig")]
    [InlineData("_8883._mqtt." + Web)]
    [InlineData("_mqtt." + Web)]
    public async Task Dig_reads_what_is_spoken_where(string name) =>
        await Expect("dig", $"+short {name} SVCB", "^1 web\\.shop\\.svc\\.clusterset\\.local\\. alpn=\"mqtt\" port=8883 ipv4hint=127\\.64\\.3\\.9$");

    [RequiresFact("dnsmasq", "kdig")]
    public async Task Dnsmasq_forwards_with_the_documented_lines()
    {
        var port = FreePorts.Take(1)[0];
        using var dnsmasq = Process.Start(new ProcessStartInfo(
            "dnsmasq",
            $"--keep-in-foreground --conf-file=/dev/null --pid-file= --user= --no-resolv --no-hosts --port={port} "
            + "--listen-address=127.0.0.1 --bind-interfaces --stop-dns-rebind "
            + $"--server=/clusterset.local/127.0.0.1#{_server.EndPoints[0].Port} --rebind-domain-ok=/clusterset.local/"))!;
        try
        {
            // +retry bridges the moment until it listens.
            var output = await Run("kdig", $"+retry=20 +timeout=1 +short {Web} A", port);
            Assert.Equal("127.64.3.9", output.Trim());
            Assert.Contains("status: NXDOMAIN", await Run("kdig", $"nothing.{Web} A", port));
            Assert.Contains("ANSWER: 0;", await Run("kdig", "idle.shop.svc.clusterset.local A", port));
        }
        finally
        {
            dnsmasq.Kill();
            await dnsmasq.WaitForExitAsync();
        }
    }

    private async Task Expect(string tool, string arguments, string expected)
    {
        var output = await Run(tool, arguments);
        Assert.True(Regex.IsMatch(output.Trim(), expected, RegexOptions.Multiline), $"{tool} {arguments} said:\n{output}");
    }

    private async Task<string> Run(string tool, string arguments, int port = 0)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var once = tool == "dig" ? "+tries=1 +time=15" : "+retry=0 +timeout=15";
        using var process = Process.Start(new ProcessStartInfo(
            tool, $"@127.0.0.1 -p {(port == 0 ? _server.EndPoints[0].Port : port)} {once} {arguments}")
        {
            RedirectStandardOutput = true,
        })!;
        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return output;
        }
        finally
        {
            process.Kill();
        }
    }
}
