using System.Diagnostics;
using System.Net;
using System.Text.RegularExpressions;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns.Forwarding;

/// <summary>Between other people's clients (dig, kdig) and other people's servers (Knot, dnsmasq).</summary>
public sealed class DnsRealUpstreamTests : IAsyncDisposable
{
    private const string Zone = """
        $ORIGIN example.
        @ 300 SOA ns hostmaster 1 3600 600 86400 60
        @ 300 NS ns
        ns 300 A 192.0.2.53
        www 300 A 192.0.2.1
        www 300 A 192.0.2.2
        www 300 AAAA 2001:db8::1
        alias 300 CNAME other
        other 300 CNAME www
        mail 300 MX 10 www
        mail 300 MX 20 ns
        _sip._udp 300 SRV 0 5 5060 www
        text 300 TXT "one" "two"
        https 300 HTTPS 1 . alpn=h2
        dangling 300 CNAME nowhere
        *.wild 300 A 192.0.2.9
        odd 300 TYPE65399 \# 3 010203

        """;

    private readonly TemporaryFolder _folder = new();
    private readonly List<Process> _started = [];

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _started)
        {
            process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }

        _folder.Dispose();
    }

    [RequiresTheory("knotd", "dig", "kdig")]
    [InlineData("dig")]
    [InlineData("kdig")]
    public async Task Answers_are_those_of_the_upstream_asked_itself(string tool)
    {
        var knot = await KnotAsync();
        await using var server = new ForwardingServer(ForwardingServer.To(knot));
        string[] questions =
        [
            "www.example A", "www.example AAAA", "alias.example A", "mail.example MX", "_sip._udp.example SRV", "text.example TXT", "https.example HTTPS",
            "dangling.example A", "no.example A", "www.example TXT", "a.b.wild.example A", "odd.example TYPE65399", "example SOA", "example NS",
            "wWw.eXample A", "+dnssec www.example A", "+tcp alias.example A", "+tcp big.example TXT", "big.example TXT", "many.example A",
            "+bufsize=512 many.example A",
        ];
        foreach (var question in questions)
        {
            var theirs = await RunAsync(tool, question, knot);
            Assert.Equal((question, theirs), (question, await RunAsync(tool, question, server.EndPoint)));
            // And again out of the cache.
            Assert.Equal((question, theirs), (question, await RunAsync(tool, question, server.EndPoint)));
        }

        Assert.True(server.Forwarder.Statistics.Hits >= questions.Length - 2, $"{server.Forwarder.Statistics}");
    }

    [RequiresFact("knotd", "dnsmasq", "kdig")]
    public async Task The_upstream_dies_and_comes_back_and_another_one_answers_meanwhile()
    {
        var knot = await KnotAsync();
        var dnsmasq = await DnsmasqAsync("--address=/example/192.0.2.77", "--local-ttl=0");
        await using var server = new ForwardingServer(ForwardingServer.To(knot, dnsmasq));
        // Both are known; the one that is named first is killed, whichever it likes better.
        var process = _started[0];
        for (var i = 0; i < 10; i++)
        {
            Assert.NotEmpty((await server.AskAsync($"n{i}.wild.example")).Answers);
        }

        process.Kill();
        await process.WaitForExitAsync();
        var took = new List<TimeSpan>();
        for (var i = 0; i < 10; i++)
        {
            var since = Stopwatch.StartNew();
            Assert.NotEmpty((await server.AskAsync($"m{i}.wild.example")).Answers);
            took.Add(since.Elapsed);
        }

        // Most of them: a busy machine may be late with some.
        Assert.InRange(took.Order().ElementAt(took.Count / 2), TimeSpan.Zero, TimeSpan.FromSeconds(1));

        _started.Remove(process);
        await KnotAsync(knot.Port);
        await Wait.UntilAsync(
            () => server.Forwarder.Upstreams.All(u => u.Upstream.State == "up"), () => string.Join(", ", server.Forwarder.Upstreams));
    }

    [RequiresFact("dnsmasq", "kdig")]
    public async Task A_resolver_that_forwards_everything_here_is_found_to_be_a_loop()
    {
        await using var server = new ForwardingServer(new DnsForwardRules());
        var dnsmasq = await DnsmasqAsync($"--server=127.0.0.1#{server.EndPoint.Port}");
        server.Forwarder.Follow(ForwardingServer.To(dnsmasq));
        Assert.Equal(DnsRcode.ServFail, (await server.AskAsync("www.example")).Rcode);
        await Wait.UntilAsync(
            () => server.Forwarder.Upstreams.Single().Upstream.State == "loop", () => string.Join(", ", server.Forwarder.Upstreams));
    }

    /// <summary>Status, flags that are the upstream's to say, and the records of the answer, without their order.</summary>
    private static async Task<string> RunAsync(string tool, string question, IPEndPoint server)
    {
        using var limit = new CancellationTokenSource(Wait.Limit);
        var once = tool == "dig" ? "+tries=1 +time=5 +noadditional" : "+retry=0 +timeout=5 +noadditional";
        using var process = Process.Start(new ProcessStartInfo(tool, $"@{server.Address} -p {server.Port} {once} {question}")
        {
            RedirectStandardOutput = true,
        })!;
        var output = await process.StandardOutput.ReadToEndAsync(limit.Token);
        await process.WaitForExitAsync(limit.Token);
        var status = Regex.Match(output, "status: ([A-Z]+)").Groups[1].Value;
        var truncated = Regex.IsMatch(output, "flags:[^;]* tc", RegexOptions.IgnoreCase);
        var answer = Regex.Match(output, ";; ANSWER SECTION:\n((?:[^;\n].*\n)*)").Groups[1].Value;
        Assert.True(status.Length > 0, output);
        return $"{status} {truncated}\n"
            + string.Join('\n', answer.Split('\n').Select(l => Regex.Replace(Regex.Replace(l, "\\s+", " "), " \\d+ IN ", " IN ").ToLowerInvariant()).Order(StringComparer.Ordinal)).Trim();
    }

    private async Task<IPEndPoint> KnotAsync(int port = 0)
    {
        port = port == 0 ? FreePorts.Take(1)[0] : port;
        var text = string.Concat(Enumerable.Repeat(" \"" + new string('x', 250) + "\"", 12));
        var many = string.Concat(Enumerable.Range(1, 60).Select(i => $"many 300 A 192.0.2.{i}\n"));
        _folder.Write("example.zone", $"{Zone}big 300 TXT{text}\n{many}");
        _started.Add(Knot.Start(_folder, port, ("example", "example.zone")));
        return await AnswersAsync(new IPEndPoint(IPAddress.Loopback, port), "www.example");
    }

    private async Task<IPEndPoint> DnsmasqAsync(params string[] arguments)
    {
        var port = FreePorts.Take(1)[0];
        _started.Add(Process.Start(new ProcessStartInfo("dnsmasq",
        [
            "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=", "--no-resolv", "--no-hosts", $"--port={port}",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--address=/ready.test/192.0.2.1", .. arguments,
        ]))!);
        return await AnswersAsync(new IPEndPoint(IPAddress.Loopback, port), "ready.test");
    }

    private static async Task<IPEndPoint> AnswersAsync(IPEndPoint server, string name)
    {
        for (var since = Stopwatch.StartNew(); ; await Task.Delay(50))
        {
            Assert.True(since.Elapsed < Wait.Limit, $"{server} does not answer");
            try
            {
                using var socket = new System.Net.Sockets.UdpClient();
                socket.Connect(server);
                await socket.SendAsync(Query(name, DnsType.A).Bytes());
                var answer = await socket.ReceiveAsync().WaitAsync(TimeSpan.FromMilliseconds(300));
                if (Read(answer.Buffer).Answers.Length > 0)
                {
                    return server;
                }
            }
            catch (Exception e) when (e is System.Net.Sockets.SocketException or TimeoutException)
            {
                // Not yet.
            }
        }
    }
}
