using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>
/// The same names served by Knot DNS and by us, asked the same questions: the answers are equal section by section. The zone file is
/// written here from the services, and not by the code under test.
/// </summary>
public sealed class DnsComparisonTests : IDisposable
{
    private const int Questions = 20_000;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [RequiresFact("knotd")]
    public async Task Answers_are_those_of_Knot()
    {
        var services = Enumerable.Range(0, 300).Select(i => new DnsService(
            $"s{i}", $"ns{i % 7}", i % 5 == 0 ? IPAddress.Parse($"fd00::{i + 1:x}") : new IPAddress([127, 64, (byte)(i % 3), (byte)(i % 251 + 1)]),
            [new("http", 80, true), new("dns", 53, i % 2 == 0), new("web", 443, true) { Alpn = ["h2", "http/1.1"] }, new("alt", 8443, true) { Alpn = ["h2"] },
            new("mqtt", 8883, true) { Alpn = ["mqtt"] }],
            true)).ToArray();
        var zone = DnsZone.Build(Domain, services, 42, new DnsZoneOptions
        {
            ReverseRanges = [IPNetwork.Parse("127.64.0.0/16")],
            ServerAddresses = [IPAddress.Parse("127.0.0.5")],
        });
        await using var server = new DnsServer(
            new DnsServerOptions { Listen = [new IPEndPoint(IPAddress.Loopback, 0)] }, () => zone, TimeProvider.System);
        server.Start();
        using var knot = StartKnot(services, out var port);
        try
        {
            using var ours = Connect(server.EndPoints[0].Port);
            using var theirs = Connect(port);
            await UntilAnswers(theirs);
            var random = new Random(11);
            var (compared, excused) = (0, 0);
            for (var i = 0; i < Questions; i++)
            {
                var query = RandomQuery(random, services);
                var (left, right) = (await Ask(ours, query), await Ask(theirs, query));
                if (Excused(query, left, right))
                {
                    excused++;
                    continue;
                }

                compared++;
                Assert.True(Facts(left) == Facts(right), $"{Convert.ToHexString(query.Bytes())}\n{Facts(query)}\n\nwe said\n{Facts(left)}\n\nKnot said\n{Facts(right)}");
            }

            Assert.InRange(excused, 0, Questions / 10);
            Assert.Equal(Questions, compared + excused);
        }
        finally
        {
            knot.Kill();
            await knot.WaitForExitAsync();
        }
    }

    /// <summary>Where we chose otherwise than Knot, and an RFC lets both.</summary>
    private static bool Excused(DnsMessage query, DnsMessage ours, DnsMessage theirs) =>
        // ANY: one synthetic HINFO (RFC 8482 §4.2) against all of them.
        query.Questions[0].Type == DnsType.Any && ours.Rcode == theirs.Rcode

        // We put the address beside an HTTPS record whose target is its own name (RFC 9460 §4.1), and beside the NS record of a reverse
        // zone (RFC 1035 §3.3.11); Knot does so for other names, and for those within one zone; there it adds the
        // target's own HTTPS record as well, which we leave to those who ask.
        || query.Questions[0].Type is DnsType.Https or DnsType.Ns && ours.Additionals.Length != theirs.Additionals.Length
            && Facts(ours with { Additionals = [] }) == Facts(theirs with { Additionals = [] });

    private static DnsMessage RandomQuery(Random random, DnsService[] services)
    {
        var service = services[random.Next(services.Length)];
        var own = $"{service.Name}.{service.Namespace}.{Domain}";
        string[] names =
        [
            own, own, own, $"_http._tcp.{own}", $"_dns._udp.{own}", $"_dns._tcp.{own}", $"_tcp.{own}", $"_8443._https.{own}", $"_https.{own}",
            $"_8443._alt.{own}", $"_web.{own}", $"_mqtt.{own}", $"_8883._mqtt.{own}", $"_8883.{own}",
            $"no.{own}", $"no{random.Next()}.{service.Namespace}.{Domain}", $"{service.Namespace}.{Domain}", Domain, "clusterset.local", "local",
            ".", "dns-version.clusterset.local", "ns.clusterset.local", "x.dns-version.clusterset.local", $"no{random.Next()}.clusterset.local",
            "example.com", "64.127.in-addr.arpa", "1.64.127.in-addr.arpa", "77.64.127.in-addr.arpa", "65.127.in-addr.arpa",
            $"{random.Next(256)}.{random.Next(4)}.64.127.in-addr.arpa", "007.1.64.127.in-addr.arpa", "a.1.1.64.127.in-addr.arpa",
            string.Join('.', Enumerable.Repeat("a", random.Next(1, 100))) + ".clusterset.local",
        ];
        DnsType[] types =
        [
            DnsType.A, DnsType.A, DnsType.Aaaa, DnsType.Srv, DnsType.Ptr, DnsType.Txt, DnsType.Soa, DnsType.Ns, DnsType.Https, DnsType.Svcb, DnsType.Svcb,
            DnsType.Mx, DnsType.Cname, DnsType.Hinfo, DnsType.Any, (DnsType)48, (DnsType)43, (DnsType)65399,
        ];
        var name = new string([.. names[random.Next(names.Length)].Select(c => random.Next(3) == 0 ? char.ToUpperInvariant(c) : c)]);
        var opt = Opt with
        {
            // Not 1: Knot takes such a record for one of class IN, and malformed.
            Class = (DnsClass)random.Next(2, 4097),
            Ttl = (uint)(random.Next(20) == 0 ? random.Next(1, 256) << 16 : 0) | (random.Next(3) == 0 ? 0x8000u : 0) | (random.Next(5) == 0 ? 0x0040u : 0),
            Data = new DnsOpt(random.Next(4) == 0 ? [new DnsOption((ushort)random.Next(100, 200), [.. new byte[random.Next(20)]])] : []),
        };
        return new DnsMessage
        {
            Id = (ushort)random.Next(65536),
            Flags = (random.Next(2) == 0 ? DnsFlags.RecursionDesired : DnsFlags.None) | (random.Next(5) == 0 ? DnsFlags.CheckingDisabled : DnsFlags.None),
            Questions = [new DnsQuestion(DnsName.Parse(name), types[random.Next(types.Length)], DnsClass.Internet)],
            Additionals = random.Next(3) == 0 ? [] : [opt],
        };
    }

    /// <summary>All that a client reads, in an order of its own.</summary>
    private static string Facts(DnsMessage message)
    {
        static string Record(DnsRecord r) => r.Type == DnsType.Opt ? $"OPT {(int)r.Class} {r.Ttl & 0xFFFFFF:x}"
            : $"{r.Name} {r.Ttl} {r.Class} {r.Type} {Data(r.Data)}";
        static string Data(DnsData data) => data switch
        {
            DnsOpaque opaque => Convert.ToHexString(opaque.Bytes.AsSpan()),
            DnsTxt txt => string.Join(' ', txt.Strings),
            _ => data.ToString(),
        };
        static string Section(IEnumerable<DnsRecord> records) => string.Join('\n', records.Select(Record).Order(StringComparer.OrdinalIgnoreCase));
        var text = new StringBuilder();
        // CD: we repeat it, as RFC 4035 §3 asks of a server that knows DNSSEC and as BIND does; Knot clears it.
        text.Append($"{message.Id} {message.Opcode} {message.Rcode} {message.Flags & ~DnsFlags.CheckingDisabled}");
        text.Append("\n? ").AppendJoin(' ', message.Questions.Select(q => $"{q.Name} {q.Type} {q.Class}"));

        // A name in the data may take its case from the question that it points to, or keep its own.
        var sections = $"\n= {Section(message.Answers)}\n^ {Section(message.Authorities)}\n+ {Section(message.Additionals)}";
        return text.Append(sections.ToLowerInvariant()).ToString();
    }

    private Process StartKnot(DnsService[] services, out int port)
    {
        port = FreePorts.Take(1)[0];
        File.WriteAllText(Path.Combine(_folder.Root, "forward.zone"), Forward(services));
        File.WriteAllText(Path.Combine(_folder.Root, "reverse.zone"), Reverse(services));
        return Knot.Start(_folder, port, ("clusterset.local", "forward.zone"), ("64.127.in-addr.arpa", "reverse.zone"));
    }

    private static string Forward(DnsService[] services)
    {
        var text = new StringBuilder("""
            $ORIGIN clusterset.local.
            @ 5 SOA ns hostmaster 42 3600 600 86400 1
            @ 5 NS ns
            ns 5 A 127.0.0.5
            dns-version 28800 TXT "1.0.0"

            """);
        foreach (var service in services)
        {
            var name = $"{service.Name}.{service.Namespace}.svc";
            var six = service.ServiceAddress!.AddressFamily == AddressFamily.InterNetworkV6;
            var hint = $"{(six ? "ipv6hint" : "ipv4hint")}={service.ServiceAddress}";
            text.AppendLine($"{name} 5 {(six ? "AAAA" : "A")} {service.ServiceAddress}");
            text.AppendLine($"{name} 5 HTTPS 1 . alpn=h2 {hint}");
            text.AppendLine($"_8443._https.{name} 5 HTTPS 1 {name} alpn=h2 no-default-alpn port=8443 {hint}");
            foreach (var port in service.Ports)
            {
                foreach (var prefix in port.Alpn.IsEmpty ? [] : new[] { $"_{port.Port}._{port.Name}", $"_{port.Name}" })
                {
                    text.AppendLine($"{prefix}.{name} 5 SVCB 1 {name} alpn={string.Join(',', port.Alpn)} port={port.Port} {hint}");
                }

                text.AppendLine($"_{port.Name}.{(port.Tcp ? "_tcp" : "_udp")}.{name} 5 SRV 0 0 {port.Port} {name}");
            }
        }

        return text.ToString();
    }

    private static string Reverse(DnsService[] services)
    {
        var text = new StringBuilder("""
            $ORIGIN 64.127.in-addr.arpa.
            @ 5 SOA ns.clusterset.local. hostmaster.clusterset.local. 42 3600 600 86400 1
            @ 5 NS ns.clusterset.local.

            """);
        foreach (var service in services.Where(s => s.ServiceAddress!.AddressFamily == AddressFamily.InterNetwork))
        {
            var bytes = service.ServiceAddress!.GetAddressBytes();
            text.AppendLine($"{bytes[3]}.{bytes[2]} 5 PTR {service.Name}.{service.Namespace}.{Domain}.");
        }

        return text.ToString();
    }

    private static Socket Connect(int port)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Connect(IPAddress.Loopback, port);
        return socket;
    }

    private static async Task UntilAnswers(Socket knot)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                using var soon = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));
                var query = Query("64.127.in-addr.arpa", DnsType.Soa);
                await knot.SendAsync(query.Bytes());
                var buffer = new byte[4096];
                var answer = Read(buffer.AsSpan(0, await knot.ReceiveAsync(buffer, SocketFlags.None, soon.Token)));
                if (answer.Answers.Length == 1)
                {
                    return;
                }
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException && clock.Elapsed < Limit)
            {
            }

            Assert.True(clock.Elapsed < Limit, "knotd does not answer");
            await Task.Delay(20);
        }
    }

    private static async Task<DnsMessage> Ask(Socket socket, DnsMessage query)
    {
        await socket.SendAsync(query.Bytes());
        var buffer = new byte[4096];
        using var limit = new CancellationTokenSource(Limit);
        while (true)
        {
            var message = Read(buffer.AsSpan(0, await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token)));
            if (message.Id == query.Id)
            {
                return message;
            }
        }
    }
}
