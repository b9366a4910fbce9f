using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Policies about requests, in a whole fabric: callers in paris and in virginia, a web server in virginia.</summary>
public sealed class HttpPolicyTests : IAsyncLifetime
{
    private const string Read = """
          - { name: read, action: allow, from: [ "site/*" ], to: [ site.shop ], http: { methods: [ GET ], paths: [ "/api/*" ] } }
        """;

    private const string Write = """
          - { name: write, action: allow, from: [ "site/*" ], to: [ site.shop ], http: { methods: [ POST ] } }
        """;

    private const string Whole = """
          - { name: whole, action: allow, from: [ "site/*" ], to: [ site.shop ] }
        """;

    private readonly int _port = FreePorts.Take(1)[0];
    private LoopbackFabric _fabric = null!;
    private WebApplication _server = null!;

    public async Task InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0, l => l.Protocols = HttpProtocols.Http1));
        _server = builder.Build();
        _server.Run(async http =>
        {
            await http.Response.WriteAsync($"{http.Request.Method} {http.Request.Path}");
            if (http.Request.Path.Value!.EndsWith("/stream", StringComparison.Ordinal))
            {
                // As events that may come later.
                await http.Response.Body.FlushAsync();
                await Task.Delay(Timeout.Infinite, http.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        });
        await _server.StartAsync();
        _fabric = await LoopbackFabric.StartAsync();
        await UseAsync(Read);
        foreach (var gateway in new[] { Paris, Virginia })
        {
            await _fabric.Admin(gateway).UntilAsync(s => s.Services.Any(v => v is { Name: "site.shop", ChosenSite: "virginia" })
                && s.Listeners.Any(l => l.Name == "site.shop" && l.Open));
        }
    }

    public async Task DisposeAsync()
    {
        await _fabric.DisposeAsync();
        await _server.DisposeAsync();
    }

    private async Task UseAsync(string policy)
    {
        _fabric.Write(_fabric.Topology($$"""
              - name: site
                namespace: shop
                ports: [ { port: {{_port}}, protocol: http } ]
                health: { type: none }
                exports: [ { site: virginia, endpoints: [ "127.0.0.1:{{new Uri(_server.Urls.First()).Port}}" ] } ]

            """).Replace("services:\n", policy + "\nservices:\n", StringComparison.Ordinal).Replace("to: [ \"*.shop\" ]", "to: [ web.shop ]", StringComparison.Ordinal));
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            var revision = (await _fabric.Admin(gateway).ReloadAsync()).Revision;
            await _fabric.Admin(gateway).UntilAsync(s => s.TopologyRevision == revision);
        }
    }

    private async Task<TcpClient> ConnectAsync(string gateway)
    {
        var service = (await _fabric.Admin(gateway).StatusAsync()).Services.Single(s => s.Name == "site.shop");
        var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Parse(service.ServiceAddress), _port).WaitAsync(Wait.Limit);
        return client;
    }

    /// <summary>Asks on the connection, and reads the answer to its end. Null when the connection was reset instead.</summary>
    private static async Task<string?> AskAsync(TcpClient client, string method, string path)
    {
        try
        {
            var stream = client.GetStream();
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"{method} {path} HTTP/1.1\r\nHost: a\r\n{(method == "POST" ? "Content-Length: 0\r\n" : "")}\r\n"));
            var text = new StringBuilder();
            var buffer = new byte[1024];
            while (!text.ToString().EndsWith("\r\n0\r\n\r\n", StringComparison.Ordinal) && !text.ToString().EndsWith("request\n", StringComparison.Ordinal))
            {
                var read = await stream.ReadAsync(buffer).AsTask().WaitAsync(Wait.Limit);
                if (read == 0)
                {
                    return null;
                }

                text.Append(Encoding.ASCII.GetString(buffer, 0, read));
            }

            return text.ToString()[9..12];
        }
        catch (IOException)
        {
            return null;
        }
    }

    [Theory]
    [InlineData(Paris, "site/paris/workload/shop")]
    [InlineData(Virginia, "site/virginia/unidentified")]
    public async Task Requests_are_decided_by_method_and_path_and_written(string gateway, string caller)
    {
        using (var client = await ConnectAsync(gateway))
        {
            Assert.Equal("200", await AskAsync(client, "GET", "/api/a?token=x"));
            Assert.Equal("403", await AskAsync(client, "POST", "/api/a?token=x"));
            Assert.Equal("403", await AskAsync(client, "GET", "/admin?token=x"));
            Assert.Equal("200", await AskAsync(client, "GET", "/%61pi"));
        }

        await Wait.UntilAsync(() => _fabric.Audit(Virginia).Any(l => l.ContainsKey("requests")), () => "the connection is written");
        var lines = _fabric.Audit(Virginia).Where(l => l["service"] == $"site.shop:{_port}").ToList();
        Assert.Equal([("POST", "/api/a"), ("GET", "/admin")], lines.Where(l => l["verdict"] == "deny").Select(l => (l["method"], l["path"])));
        Assert.All(lines, l => Assert.Equal($"spiffe://acme.example/{caller}", l["caller"]));
        var end = Assert.Single(lines, l => l.ContainsKey("requests"));
        Assert.Equal(("allow", "read", "2", "2"), (end["verdict"], end["rule"], end["requests"], end["requestsDenied"]));
        Assert.DoesNotContain("token", string.Join('\n', lines.SelectMany(l => l.Values)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Paris)]
    [InlineData(Virginia)]
    public async Task Each_request_of_a_connection_is_decided_by_the_policies_of_its_moment(string gateway)
    {
        using var client = await ConnectAsync(gateway);
        for (var flip = 0; flip < 10; flip++)
        {
            await UseAsync(flip % 2 == 0 ? Write : Read);
            var answers = (await AskAsync(client, "POST", "/api/a"), await AskAsync(client, "GET", "/api/a"));
            Assert.True(answers == (flip % 2 == 0 ? ("200", "403") : ("403", "200")),
                $"flip {flip}: {answers}; {string.Join('\n', _fabric.Audit(Virginia).Select(l => string.Join(", ", l)))}");
        }
    }

    [Theory]
    [InlineData(Paris)]
    [InlineData(Virginia)]
    public async Task A_request_under_way_ends_when_it_is_not_allowed_any_more(string gateway)
    {
        using var client = await ConnectAsync(gateway);
        var stream = client.GetStream();
        await stream.WriteAsync("GET /api/stream HTTP/1.1\r\nHost: a\r\n\r\n"u8.ToArray());
        var buffer = new byte[4096];
        var text = "";
        while (!text.Contains("GET /api/stream", StringComparison.Ordinal))
        {
            text += Encoding.ASCII.GetString(buffer, 0, await stream.ReadAsync(buffer).AsTask().WaitAsync(Wait.Limit));
        }

        await UseAsync(Read + "\n" + Write);
        var more = stream.ReadAsync(buffer).AsTask();
        Assert.False(more.IsCompleted);
        await UseAsync(Write);
        await Assert.ThrowsAsync<IOException>(() => more.WaitAsync(Wait.Limit));
    }

    [Theory]
    [InlineData(Paris)]
    [InlineData(Virginia)]
    public async Task A_connection_that_nobody_reads_ends_when_its_requests_are_to_be_decided(string gateway)
    {
        await UseAsync(Whole);
        using var client = await ConnectAsync(gateway);
        Assert.Equal("200", await AskAsync(client, "POST", "/any"));

        await UseAsync(Read);

        Assert.Null(await AskAsync(client, "GET", "/api/a"));
        using var anew = await ConnectAsync(gateway);
        Assert.Equal("200", await AskAsync(anew, "GET", "/api/a"));

        // Once read, always read: no bytes are lost on the way back.
        await UseAsync(Whole);
        Assert.Equal("200", await AskAsync(anew, "POST", "/any"));
    }
}
