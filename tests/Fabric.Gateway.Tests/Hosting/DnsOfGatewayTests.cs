using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Fabric.Gateway.Tests.Dns;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>What a whole gateway answers: the truth of the moment, as its topology chose.</summary>
public sealed class DnsOfGatewayTests
{
    private const string Web = "web.shop.svc.clusterset.local";

    [Fact]
    public async Task A_service_answers_while_a_site_can_serve_it_and_then_as_the_topology_says()
    {
        await using var fabric = await StartAsync();
        var dns = Samples.Accept(fabric.Topology()).Gateway(Paris).Dns;
        var address = Assert.IsType<DnsAddress>((await AskAsync(dns, Web)).Answers.Single().Data).Address;
        Assert.Equal((await fabric.Admin(Paris).StatusAsync()).Services[0].ServiceAddress, $"{address}");
        var reverse = string.Join('.', Enumerable.Reverse(address.GetAddressBytes())) + ".in-addr.arpa";
        Assert.Equal(
            new DnsTarget(DnsType.Ptr, DnsName.Parse(Web)), (await AskAsync(dns, reverse, DnsType.Ptr)).Answers.Single().Data);

        fabric.InVirginia.Dispose();
        fabric.InFactory.Dispose();
        await UntilAsync(dns, m => (m.Rcode, m.Answers.Length) == (DnsRcode.NoError, 0) && Reason(m).Contains("virginia has no healthy endpoint"));
        fabric.Write(fabric.Topology("dns: { absent: servfail }\n"));
        fabric[Paris].Reload(force: true);
        await UntilAsync(dns, m => m.Rcode == DnsRcode.ServFail && Reason(m).Contains("factory has no healthy endpoint"));
        fabric.Write(fabric.Topology("dns: { absent: nxdomain }\n"));
        fabric[Paris].Reload(force: true);
        await UntilAsync(dns, m => m.Rcode == DnsRcode.NxDomain);
        using var again = new TcpListener(IPAddress.Loopback, fabric.InFactory.Port);
        again.Start();
        await UntilAsync(dns, m => m.Answers.Length == 1);
    }

    [Fact]
    public async Task A_state_loop_that_stands_still_is_SERVFAIL_with_the_reason_and_not_an_old_answer()
    {
        using var time = new HeldLoop();
        await using var fabric = Joined();
        await fabric.StartAsync(Paris, time: time);
        var dns = Samples.Accept(fabric.Topology()).Gateway(Paris).Dns;
        const string Version = "dns-version.clusterset.local";
        Assert.Equal(DnsRcode.NoError, (await AskAsync(dns, Version, DnsType.Txt)).Rcode);

        time.Hold();
        await UntilAsync(dns, m => m.Rcode == DnsRcode.ServFail && Reason(m) == "what this gateway knows is too old");
        foreach (var name in new[] { Version, "no.svc.clusterset.local" })
        {
            var failed = await AskAsync(dns, name, DnsType.Txt);
            Assert.Equal((DnsRcode.ServFail, 0), (failed.Rcode, failed.Answers.Length));
            Assert.Equal([0, (byte)DnsExtendedError.NotReady], ((DnsOpt)failed.Opt!.Data).Options.Single().Data.AsSpan()[..2].ToArray());
        }

        // What is not its own is not its trouble.
        Assert.NotEqual("what this gateway knows is too old", Reason(await AskAsync(dns, "example.test", DnsType.Txt)));

        time.Release();
        await UntilAsync(dns, m => m.Rcode == DnsRcode.NoError, Version, DnsType.Txt);
    }

    [Fact]
    public async Task Over_TLS_it_shows_its_own_certificate()
    {
        await using var fabric = Joined();
        var tls = new IPEndPoint(IPAddress.Loopback, FreePorts.Take(1)[0]);
        fabric.Write(fabric.Topology().Replace("name: paris-1,", $"name: paris-1, dnsTls: \"{tls}\","));
        await fabric.StartAsync(Paris);

        using var client = new TcpClient();
        await client.ConnectAsync(tls);
        X509Certificate2? shown = null;
        await using var stream = new SslStream(client.GetStream());
        await stream.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "paris",
            ApplicationProtocols = [new SslApplicationProtocol("dot")],
            RemoteCertificateValidationCallback = (_, certificate, _, _) =>
            {
                shown = new X509Certificate2(certificate!);
                return true;
            },
        }).WaitAsync(Wait.Limit);
        Assert.Equal("dot", stream.NegotiatedApplicationProtocol.ToString());
        Assert.Contains("spiffe://acme.example/site/paris/gateway/paris-1"u8.ToArray(), shown!.Extensions["2.5.29.17"]!.RawData);

        var query = Query("dns-version.clusterset.local", DnsType.Txt).Bytes();
        await stream.WriteAsync(new byte[] { 0, (byte)query.Length }.Concat(query).ToArray());
        var prefix = new byte[2];
        await stream.ReadExactlyAsync(prefix).AsTask().WaitAsync(Wait.Limit);
        var answer = new byte[BinaryPrimitives.ReadUInt16BigEndian(prefix)];
        await stream.ReadExactlyAsync(answer).AsTask().WaitAsync(Wait.Limit);
        Assert.Single(Read(answer).Answers);
    }

    private static string Reason(DnsMessage message) => message.Opt?.Data is DnsOpt { Options: [{ Code: 15 } error] }
        ? System.Text.Encoding.ASCII.GetString(error.Data.AsSpan()[2..]) : "";

    private static async Task UntilAsync(IPEndPoint dns, Func<DnsMessage, bool> holds, string name = Web, DnsType type = DnsType.A)
    {
        var since = Stopwatch.StartNew();
        for (var last = await AskAsync(dns, name, type); !holds(last); last = await AskAsync(dns, name, type))
        {
            Assert.True(since.Elapsed < Wait.Limit, $"the answer is still {last.Rcode}, {last.Answers.Length} records, {Reason(last)}");
            await Task.Delay(10);
        }
    }

    private static async Task<DnsMessage> AskAsync(IPEndPoint dns, string name, DnsType type = DnsType.A)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(dns);
        await socket.SendAsync((Query(name, type) with { Additionals = [Opt] }).Bytes());
        var buffer = new byte[1500];
        return Read(buffer.AsSpan(0, await socket.ReceiveAsync(buffer).WaitAsync(Wait.Limit)));
    }

    /// <summary>The system's time, which the thread of the state loop has to wait for as long as a test wants.</summary>
    private sealed class HeldLoop : TimeProvider, IDisposable
    {
        private readonly ManualResetEventSlim _goes = new(true);

        public void Hold() => _goes.Reset();

        public void Release() => _goes.Set();

        public override long GetTimestamp()
        {
            if (Thread.CurrentThread.Name == "fabric-state")
            {
                _goes.Wait();
            }

            return base.GetTimestamp();
        }

        // Not the event: the loop may be in it still.
        public void Dispose() => _goes.Set();
    }
}
