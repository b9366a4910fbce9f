using System.Net;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Fabric.Lab.Telemetry;

/// <summary>
/// Three sites as processes on loopback. In site b is <c>front.shop</c>, which asks <c>back.shop</c> in site c, as a service does that knows nothing of
/// traces but to hand on the traceparent that it was sent; <c>closed.shop</c> in site b is allowed to nobody.
/// </summary>
public sealed class ThreeSites : IAsyncDisposable
{
    private const int FrontPort = 8081;
    private const int BackPort = 8082;
    private const int ClosedPort = 8083;

    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(30);

    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, ActivityHeadersPropagator = null });
    private readonly List<WebApplication> _servers = [];
    private readonly List<GatewayProcess> _gateways = [];

    public GatewayProcess A => _gateways[0];

    /// <param name="environment">Of the gateway of each site: <c>NAME=value</c>.</param>
    public static async Task<ThreeSites> Start(WorkFolder work, Func<string, string[]> environment)
    {
        var sites = new ThreeSites();
        try
        {
            await sites.StartAll(work, environment);
            return sites;
        }
        catch
        {
            await sites.DisposeAsync();
            throw;
        }
    }

    /// <summary>A request of a client in site a: what front and back were sent as traceparent.</summary>
    public async Task<string[]> Ask(string? traceParent = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, await AddressOf(A, "front.shop", FrontPort));
        request.Headers.ConnectionClose = true;
        if (traceParent is not null)
        {
            request.Headers.Add("traceparent", traceParent);
        }

        using var answer = await _http.SendAsync(request);
        return (await answer.Content.ReadAsStringAsync()).Split(' ');
    }

    /// <summary>A request of curl in site a, with that traceparent: what front and back were sent as theirs.</summary>
    public async Task<string[]> AskByCurl(string traceParent)
    {
        var address = await AddressOf(A, "front.shop", FrontPort);
        var curl = await Command.Run(["curl", "-sS", "--fail", "--noproxy", "*", "-m", "20", "-H", $"traceparent: {traceParent}", $"{address}"]);
        Assert.True(curl.ExitCode == 0, curl.ToString());
        return curl.Output.Split(' ');
    }

    /// <summary>By the topology of its gateway, site a is in a fabric without site c.</summary>
    public async Task ForgetC()
    {
        var file = Directory.GetFiles(A.TopologyFolder, "*.yaml").Single();
        await File.WriteAllTextAsync(file + ".new", Topology(withC: false));
        File.Move(file + ".new", file, overwrite: true);
        await A.Reload();
    }

    /// <summary>A request that no policy allows: its connection is reset.</summary>
    public async Task AskClosed() => await Assert.ThrowsAsync<HttpRequestException>(async () => await _http.GetAsync(await AddressOf(A, "closed.shop", ClosedPort)));

    /// <summary>SIGTERM to all.</summary>
    public Task Stop() => Task.WhenAll(_gateways.Select(g => g.Stop()));

    public async ValueTask DisposeAsync()
    {
        await Stop();
        foreach (var gateway in _gateways)
        {
            await gateway.DisposeAsync();
        }

        foreach (var server in _servers)
        {
            await server.DisposeAsync();
        }

        _http.Dispose();
    }

    private async Task StartAll(WorkFolder work, Func<string, string[]> environment)
    {
        await Serve("127.97.3.80", BackPort, http => http.Response.WriteAsync(http.Request.Headers["traceparent"].ToString()));
        await Serve("127.97.2.80", FrontPort, async http =>
        {
            using var onward = new HttpRequestMessage(HttpMethod.Get, await AddressOf(_gateways[1], "back.shop", BackPort));
            onward.Headers.ConnectionClose = true;
            onward.Headers.Add("traceparent", http.Request.Headers["traceparent"].ToString());
            using var answer = await _http.SendAsync(onward);
            await http.Response.WriteAsync($"{http.Request.Headers["traceparent"]} {await answer.Content.ReadAsStringAsync()}");
        });
        var programs = Programs.Find();
        var mesh = new Mesh(work, programs, "traced");
        foreach (var site in new[] { "a", "b", "c" })
        {
            _gateways.Add(new GatewayProcess(work, site, programs, argv => ["env", .. environment(site), .. argv], ["--wireguard", "off"])
            {
                Ca = site == "a" ? mesh.Ca : null,
            });
        }

        await mesh.Init("traced.example", Topology());
        await Join(A);
        await Task.WhenAll(_gateways.Skip(1).Select(Join));
        async Task Join(GatewayProcess gateway)
        {
            await mesh.Join(gateway, "127.97.1.1:7443");
            gateway.Start();
            await gateway.Ready(_limit);
        }

        foreach (var (gateway, service, site) in new[] { (_gateways[0], "front.shop", "b"), (_gateways[0], "closed.shop", "b"), (_gateways[1], "back.shop", "c") })
        {
            await gateway.Until($"{service} in {site}", _limit, s => s.Services.Any(x => x.Name == service && x.ChosenSite == site)
                && s.Listeners.Any(l => l.Name == service && l.Open));
        }
    }

    private async Task Serve(string address, int port, RequestDelegate serve)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Parse(address), port));
        var app = builder.Build();
        _servers.Add(app);
        app.Run(serve);
        await app.StartAsync();
    }

    private static async Task<Uri> AddressOf(GatewayProcess gateway, string service, int port) =>
        new($"http://{(await gateway.Status()).Services.Single(s => s.Name == service).ServiceAddress}:{port}/");

    private static string Topology(bool withC = true) => string.Join('\n', Whole.Split('\n').Where(line => withC || !line.EndsWith("# of c", StringComparison.Ordinal)));

    private static string Whole => $$"""
        fabric: 1
        trustDomain: traced.example

        sites:
          - name: a
            serviceAddresses: 127.94.0.0/16
            gateways: [{name: a-1, listen: [127.97.1.1], dns: "127.97.1.1:5353", metrics: "127.97.1.1:9440", dashboard: off}]
          - name: b
            serviceAddresses: 127.95.0.0/16
            gateways: [{name: b-1, listen: [127.97.2.1], dns: "127.97.2.1:5353", metrics: "127.97.2.1:9440", dashboard: off}]
          - name: c # of c
            serviceAddresses: 127.96.0.0/16 # of c
            gateways: [{name: c-1, listen: [127.97.3.1], dns: "127.97.3.1:5353", metrics: "127.97.3.1:9440", dashboard: off}] # of c

        links:
          - {name: ab, type: interconnect, ends: [{gateway: a-1, address: 127.97.1.1}, {gateway: b-1, address: 127.97.2.1}]}
          - {name: bc, type: interconnect, ends: [{gateway: b-1, address: 127.97.2.1}, {gateway: c-1, address: 127.97.3.1}]} # of c

        services:
          - {name: front, namespace: shop, ports: [{port: {{FrontPort}}, protocol: http}], health: {type: none}, exports: [{site: b, endpoints: ["127.97.2.80:{{FrontPort}}"]}]}
          - {name: back, namespace: shop, ports: [{port: {{BackPort}}, protocol: http}], health: {type: none}, exports: [{site: c, endpoints: ["127.97.3.80:{{BackPort}}"]}]} # of c
          - {name: closed, namespace: shop, ports: [{port: {{ClosedPort}} }], health: {type: none}, exports: [{site: b, endpoints: ["127.97.2.80:{{FrontPort}}"]}]}

        policies:
          - {name: read-front, action: allow, from: ["site/*"], to: [front.shop], http: {methods: [GET]} }
          - {name: read-back, action: allow, from: ["site/*"], to: [back.shop], http: {methods: [GET]} } # of c

        """;
}
