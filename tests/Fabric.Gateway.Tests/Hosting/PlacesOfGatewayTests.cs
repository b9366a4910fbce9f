using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Tests.Dns;
using Fabric.Protocol.Dns;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Names of single sites and hosts, through whole gateways: from what is resolved to who answers the connection.</summary>
public sealed class PlacesOfGatewayTests
{
    private const string Domain = ".svc.clusterset.local";

    private readonly int _port = FreePorts.Take(1)[0];

    [Fact]
    public async Task A_site_s_name_goes_to_that_site_and_fails_over_to_nobody()
    {
        await using var fabric = await StartAsync();
        await UseAsync(fabric, fabric.Topology().Replace("  - name: web\n", "  - name: web\n    siteNames: true\n"), Paris, Virginia, Factory);

        var service = await ResolveAsync(fabric, "web.shop");
        var factory = await ResolveAsync(fabric, "web.shop.factory.site");
        var virginia = await ResolveAsync(fabric, "web.shop.virginia.site");
        Assert.Equal(3, new[] { service, factory, virginia }.Distinct().Count());
        Assert.Equal("virginia", await AnsweredByAsync(service, fabric.ServicePort));
        Assert.Equal("factory", await AnsweredByAsync(factory, fabric.ServicePort));
        Assert.Equal("virginia", await AnsweredByAsync(virginia, fabric.ServicePort));

        // Policies are those of the service: nobody may from there.
        Assert.Null(await AnsweredByAsync(factory, fabric.ServicePort, "127.0.0.2"));
        await Wait.UntilAsync(() => fabric.Audit(Factory).Exists(e => e["verdict"] == "deny" && e["service"] == $"web.shop:{fabric.ServicePort}"), () => "it is denied in factory");

        var explained = await ExplainAsync(fabric, "web.shop.factory.site");
        Assert.Equal(("web.shop", "factory", "", "factory"), (explained.Service, explained.OnlySite, explained.OnlyHost, explained.Sites.Single().Site));

        // The site is gone: its name says so, and a connection to its address waits for that site, though the other could serve.
        fabric.InFactory.Dispose();
        await UntilGoneAsync(fabric, "web.shop.factory.site", "only factory is asked for: factory has no healthy endpoint");
        var held = AnsweredByAsync(factory, fabric.ServicePort);
        Assert.Equal("virginia", await AnsweredByAsync(service, fabric.ServicePort));
        Assert.Equal(virginia, await ResolveAsync(fabric, "web.shop.virginia.site"));
        using var again = await NamedListener.StartAsync("factory again", fabric.InFactory.Port);
        Assert.Equal("factory again", await held);
        Assert.Equal(factory, await ResolveAsync(fabric, "web.shop.factory.site"));
    }

    [Fact]
    public async Task Hosts_of_a_headless_service_are_reached_each_by_its_name_and_found_by_the_service_s()
    {
        await using var fabric = await StartAsync();
        using var local = new NamedEndpoint("db-0 of paris");
        using var zero = new NamedEndpoint("db-0 of virginia");
        using var one = new NamedEndpoint("db-1 of virginia");
        using var far = new NamedEndpoint("db-0 of factory");
        await UseAsync(fabric, fabric.Topology(Db(far, zero, one, local)), Paris, Virginia, Factory);

        string[] names = ["db-0.paris", "db-0.virginia", "db-1.virginia", "db-0.factory"];
        var addresses = new List<IPAddress>();
        foreach (var name in names)
        {
            addresses.Add(await ResolveAsync(fabric, $"{name}.db.shop"));
            Assert.Equal(string.Join(" of ", name.Split('.')), await AnsweredByAsync(addresses[^1], _port));
        }

        // The own site, then the nearer link; and so do the targets of SRV.
        Assert.Equal(addresses, (await AskAsync(fabric, "db.shop")).Answers.Select(Address));
        Assert.Equal(addresses[1..3], (await AskAsync(fabric, "db.shop.virginia.site")).Answers.Select(Address));
        var srv = await AskAsync(fabric, "_pg._tcp.db.shop", DnsType.Srv);
        Assert.Equal(names.Select((n, i) => new DnsSrv((ushort)(i < 1 ? 0 : i < 3 ? 1 : 2), 0, (ushort)_port, DnsName.Parse($"{n}.db.shop{Domain}"))), srv.Answers.Select(r => r.Data));
        Assert.Equal(addresses, srv.Additionals.Where(r => r.Type == DnsType.A).Select(Address));

        var explained = await ExplainAsync(fabric, "db.shop");
        Assert.Equal(names, explained.Hosts.Where(h => h.Answered).Select(h => $"{h.Host}.{h.Site}"));

        // One host is gone, by the word of its own site; and its address reaches nobody in its place.
        one.Dispose();
        await UntilGoneAsync(fabric, "db-1.virginia.db.shop", "host db-1 of db.shop: virginia has no healthy endpoint");
        Assert.Equal([addresses[0], addresses[1], addresses[3]], (await AskAsync(fabric, "db.shop")).Answers.Select(Address));
        var held = AnsweredByAsync(addresses[2], _port);
        using var again = await NamedListener.StartAsync("db-1 is back", one.Port);
        Assert.Equal("db-1 is back", await held);

        // A gateway that goes takes its hosts with it, and those alone.
        await fabric.StopAsync(Virginia);
        await UntilGoneAsync(fabric, "db-0.virginia.db.shop", "virginia is out of reach or draining");
        await UntilGoneAsync(fabric, "db.shop.virginia.site", "no host of db.shop can be reached in virginia");
        Assert.Equal([addresses[0], addresses[3]], (await AskAsync(fabric, "db.shop")).Answers.Select(Address));
    }

    [Fact]
    public async Task Datagrams_reach_the_host_that_they_are_sent_to()
    {
        await using var fabric = await StartAsync();
        using var zero = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
        using var one = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
        var answering = Task.WhenAll(AnswerAsync(zero, "zero"), AnswerAsync(one, "one"));
        await UseAsync(fabric, fabric.Topology($$"""
              - name: time
                namespace: shop
                headless: true
                ports: [ { name: ntp, port: {{_port}}, protocol: udp } ]
                exports: [ { site: virginia, endpoints: [ { host: t-0, address: "{{zero.Client.LocalEndPoint}}" }, { host: t-1, address: "{{one.Client.LocalEndPoint}}" } ] } ]

            """), Paris, Virginia, Factory);

        foreach (var (name, expected) in new[] { ("t-1", "one"), ("t-0", "zero"), ("t-1", "one") })
        {
            using var client = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
            client.Connect(await ResolveAsync(fabric, $"{name}.virginia.time.shop"), _port);
            var answer = client.ReceiveAsync();
            for (var left = 40; left > 0 && !answer.IsCompleted; left--)
            {
                await client.SendAsync(new byte[] { 1 });
                await Task.WhenAny(answer, Task.Delay(500));
            }

            Assert.Equal(expected, System.Text.Encoding.ASCII.GetString((await answer.WaitAsync(Wait.Limit)).Buffer));
        }

        Assert.Equal(2, (await AskAsync(fabric, "_ntp._udp.time.shop", DnsType.Srv)).Answers.Length);
        zero.Dispose();
        one.Dispose();
        await answering;
    }

    private static async Task AnswerAsync(UdpClient endpoint, string name)
    {
        try
        {
            while (true)
            {
                await endpoint.SendAsync(System.Text.Encoding.ASCII.GetBytes(name), (await endpoint.ReceiveAsync()).RemoteEndPoint);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private string Db(NamedEndpoint factory, NamedEndpoint zero, NamedEndpoint one, NamedEndpoint paris) => $$"""
          - name: db
            namespace: shop
            headless: true
            ports: [ { name: pg, port: {{_port}} } ]
            health: { interval: 500ms, timeout: 500ms, failures: 6 }
            exports:
              - { site: factory, endpoints: [ { host: db-0, address: "127.0.0.1:{{factory.Port}}" } ] }
              - { site: virginia, endpoints: [ { host: db-0, address: "127.0.0.1:{{zero.Port}}" }, { host: db-1, address: "127.0.0.1:{{one.Port}}" } ] }
              - { site: paris, endpoints: [ { host: db-0, address: "127.0.0.1:{{paris.Port}}" } ] }

        """;

    private static async Task UseAsync(LoopbackFabric fabric, string topology, params string[] gateways)
    {
        fabric.Write(topology);
        foreach (var gateway in gateways)
        {
            await fabric.Admin(gateway).ReloadAsync();
        }

        await fabric.Admin(Paris).UntilAsync(s => s.Services.All(v => v.Sites.All(x => x.State == "healthy"))
            && s.Listeners.All(l => l.Open) && s.Listeners.Any(l => l.Name.Contains('/')));
    }

    private static async Task<IPAddress> ResolveAsync(LoopbackFabric fabric, string name)
    {
        DnsMessage? last = null;
        for (var left = 1000; left > 0 && (last = await AskAsync(fabric, name)).Answers.Length != 1; left--)
        {
            await Task.Delay(10);
        }

        Assert.True(last!.Answers.Length == 1, $"{name}: {last.Rcode}, {Reason(last)}");
        return Address(last.Answers[0]);
    }

    /// <summary>Without a word of the topology, what a headless service is made of is not there when it is gone, and a site's name holds no data.</summary>
    private static async Task UntilGoneAsync(LoopbackFabric fabric, string name, string why)
    {
        DnsMessage? last = null;
        for (var left = 1000; left > 0 && (last = await AskAsync(fabric, name)).Answers.Length > 0; left--)
        {
            await Task.Delay(10);
        }

        Assert.Equal((name, name.Contains("db", StringComparison.Ordinal) ? DnsRcode.NxDomain : DnsRcode.NoError, 0), (name, last!.Rcode, last.Answers.Length));
        Assert.Contains(why, Reason(last), StringComparison.Ordinal);
    }

    private static Task<ResolveNameReply> ExplainAsync(LoopbackFabric fabric, string name) =>
        fabric.Admin(Paris).CallAsync(Fabric.Protocol.Grpc.AdminMethods.ResolveName, new ResolveNameRequest { Name = name + Domain });

    private static string Reason(DnsMessage message) => message.Opt?.Data is DnsOpt { Options: [{ Code: 15 } error] }
        ? System.Text.Encoding.ASCII.GetString(error.Data.AsSpan()[2..]) : "";

    private static IPAddress Address(DnsRecord record) => Assert.IsType<DnsAddress>(record.Data).Address;

    private static async Task<DnsMessage> AskAsync(LoopbackFabric fabric, string name, DnsType type = DnsType.A)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(fabric.Dns);
        await socket.SendAsync((DnsFixtures.Query(name + Domain, type) with { Additionals = [DnsFixtures.Opt] }).Bytes());
        var buffer = new byte[1500];
        return DnsFixtures.Read(buffer.AsSpan(0, await socket.ReceiveAsync(buffer).WaitAsync(Wait.Limit)));
    }

    /// <summary>The line that the endpoint says; null when the connection is reset.</summary>
    private static async Task<string?> AnsweredByAsync(IPAddress address, int port, string from = "127.0.0.1")
    {
        using var client = new TcpClient(new IPEndPoint(IPAddress.Parse(from), 0));
        try
        {
            await client.ConnectAsync(address, port).WaitAsync(Wait.Limit);
            return await new StreamReader(client.GetStream()).ReadLineAsync().WaitAsync(Wait.Limit);
        }
        catch (Exception e) when (e is IOException or SocketException { SocketErrorCode: SocketError.ConnectionReset })
        {
            return null;
        }
    }

    /// <summary>An endpoint that comes back where one was.</summary>
    private sealed class NamedListener : IDisposable
    {
        private readonly TcpListener _listener;

        private NamedListener(string name, TcpListener listener)
        {
            _listener = listener;
            _ = ServeAsync(System.Text.Encoding.ASCII.GetBytes(name + "\n"));
        }

        /// <summary>Returns when it listens: whoever called somebody meanwhile may have been given this port to call from.</summary>
        public static async Task<NamedListener> StartAsync(string name, int port)
        {
            TcpListener? listener = null;
            await Wait.UntilAsync(() => (listener = TryListen(port)) is not null, () => $"port {port} is free again");
            return new NamedListener(name, listener!);
        }

        private static TcpListener? TryListen(int port)
        {
            var listener = new TcpListener(IPAddress.Loopback, port);
            try
            {
                listener.Start();
                return listener;
            }
            catch (SocketException)
            {
                listener.Dispose();
                return null;
            }
        }

        public void Dispose() => _listener.Dispose();

        private async Task ServeAsync(byte[] line)
        {
            try
            {
                while (true)
                {
                    using var client = await _listener.AcceptTcpClientAsync();
                    await SayAsync(client.GetStream(), line);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Stopped.
            }
        }

        private static async Task SayAsync(NetworkStream stream, byte[] line)
        {
            try
            {
                await stream.WriteAsync(line);
            }
            catch (IOException)
            {
                // A health check, which is done.
            }
        }
    }
}
