using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>A DNS server in one site that clients in another use as a service, over UDP and TCP on one port.</summary>
public sealed class UdpServiceTests
{
    private readonly int[] _ports = FreePorts.Take(3);

    private int ServicePort => _ports[0];

    private int EndpointPort => _ports[1];

    private int DeadPort => _ports[2];

    private string Resolver(params int[] endpoints) => $$"""
          - name: resolver
            namespace: shop
            ports: [ { name: dns, port: {{ServicePort}}, protocol: tcp+udp } ]
            flowIdle: 2s
            health: { type: none }
            exports: [ { site: virginia, endpoints: [ {{string.Join(", ", endpoints.Select(p => $"\"127.0.0.1:{p}\""))}} ] } ]

        """;

    private static async Task UseAsync(LoopbackFabric fabric, string services)
    {
        fabric.Write(fabric.Topology(services));
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            await fabric.Admin(gateway).ReloadAsync();
        }

        await fabric.Admin(Paris).UntilAsync(s => s.Services.Any(v => v is { Name: "resolver.shop", ChosenSite: "virginia" })
            && s.Listeners.Any(l => l is { Name: "resolver.shop/udp", Open: true }));
    }

    private Process StartDnsmasq() => Process.Start(new ProcessStartInfo("dnsmasq",
    [
        "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", $"--user={Environment.UserName}",
        "--listen-address=127.0.0.1", "--bind-interfaces", $"--port={EndpointPort}", "--address=/answer.example/192.0.2.77",
    ])
    { RedirectStandardError = true })!;

    private static async Task<string> KdigAsync(params string[] arguments)
    {
        using var kdig = Process.Start(new ProcessStartInfo("kdig", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var text = await kdig.StandardOutput.ReadToEndAsync().WaitAsync(Wait.Limit);
        await kdig.WaitForExitAsync().WaitAsync(Wait.Limit);
        return text.Trim();
    }

    private static ServiceStatus Service(Status status) => status.Services.Single(s => s.Name == "resolver.shop");

    [RequiresFact("kdig", "dnsmasq")]
    public async Task A_dns_server_of_another_site_answers_over_udp_and_tcp_and_the_flow_is_told_of_everywhere()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var dnsmasq = StartDnsmasq();
        try
        {
            // A question that it was not there for would count as dropped.
            await Wait.UntilAsync(() => Dial.IsOpen(EndpointPort), () => "dnsmasq listens");
            await UseAsync(fabric, Resolver(EndpointPort));
            var address = Service(await fabric.Admin(Paris).StatusAsync()).ServiceAddress;
            string[] ask = [$"@{address}", "-p", $"{ServicePort}", "+short", "+retry=5", "answer.example"];
            Assert.Equal("192.0.2.77", await KdigAsync([.. ask, "+notcp"]));
            Assert.Equal("192.0.2.77", await KdigAsync([.. ask, "+tcp"]));

            var status = await fabric.Admin(Virginia).UntilAsync(s => s.Datagrams is { ToEndpoints: > 0, ToClients: > 0 });
            Assert.Equal(["tcp+udp"], Service(status).Protocols);
            Assert.InRange(status.Datagrams.ToEndpoints, 1u, 6u);
            Assert.InRange(status.Datagrams.BytesToClients, 30u, 3_000u);
            Assert.Equal(0u, status.Datagrams.Dropped.Aggregate(0UL, (sum, d) => sum + d.Value));
            await fabric.Admin(Paris).UntilAsync(s => s.Datagrams is { Flows: 0, FlowsTotal: > 0 });
            await Wait.UntilAsync(() => fabric.Audit(Virginia).Count >= 2, () => "flow and connection are in the audit log");
            var entry = fabric.Audit(Virginia).Single(e => e["service"] == $"resolver.shop:{ServicePort}/udp");
            Assert.Equal(("allow", Samples.Shop, $"127.0.0.1:{EndpointPort}"), (entry["verdict"], entry["caller"], entry["endpoint"]));

            var topology = Samples.Accept(await File.ReadAllTextAsync(fabric.TopologyPath)).Gateway(Paris);
            string[] name = [$"@{topology.Dns.Address}", "-p", $"{topology.Dns.Port}", "+short", "SRV"];
            var expected = $"0 0 {ServicePort} resolver.shop.svc.clusterset.local.";
            Assert.Equal(expected, await KdigAsync([.. name, "_dns._udp.resolver.shop.svc.clusterset.local"]));
            Assert.Equal(expected, await KdigAsync([.. name, "_dns._tcp.resolver.shop.svc.clusterset.local"]));
            using var http = new HttpClient();
            var page = await http.GetStringAsync(new Uri($"http://{topology.Metrics}/metrics"));
            Assert.Contains("fabric_datagrams_total{direction=\"to-endpoint\"}", page);
        }
        finally
        {
            dnsmasq.Kill();
            await dnsmasq.WaitForExitAsync();
        }
    }

    [Fact]
    public async Task An_endpoint_where_nobody_listens_is_passed_over()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var server = new UdpClient(new IPEndPoint(IPAddress.Loopback, EndpointPort));
        var serving = Task.Run(async () =>
        {
            while (true)
            {
                var question = await server.ReceiveAsync();
                await server.SendAsync(question.Buffer, question.RemoteEndPoint);
            }
        });
        await UseAsync(fabric, Resolver(DeadPort, EndpointPort));
        var address = Service(await fabric.Admin(Paris).StatusAsync()).ServiceAddress;
        for (var i = 0; i < 4; i++)
        {
            using var client = new UdpClient();
            client.Connect(address, ServicePort);
            await Wait.UntilAsync(() =>
            {
                client.Send([(byte)i]);
                return client.Client.Poll(300_000, SelectMode.SelectRead);
            }, () => "an answer comes, from the endpoint that lives");
            Assert.Equal([(byte)i], (await client.ReceiveAsync()).Buffer);
        }

        Assert.False(serving.IsCompleted);
    }
}
