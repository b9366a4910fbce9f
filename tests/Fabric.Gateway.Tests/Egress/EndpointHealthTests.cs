using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Egress;
using Fabric.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Fabric.Gateway.Tests.Egress;

/// <summary>Real listeners, and a clock that moves when told to: a check runs exactly when a test asks for the next.</summary>
public sealed class EndpointHealthTests : IAsyncLifetime
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(4);

    private readonly ManualTime _time = new();
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly EndpointHealth _health;
    private int _changes;

    public EndpointHealthTests()
    {
        _health = new EndpointHealth(_time, () => Interlocked.Increment(ref _changes));
        _listener.Start();
        ListenerPort = ((IPEndPoint)_listener.LocalEndpoint).Port;
    }

    private int ListenerPort { get; }

    private EndpointState Only => Assert.Single(_health.Of("web.shop", 80));

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _health.DisposeAsync().AsTask().WaitAsync(Wait.Limit);
        _listener.Dispose();
    }

    [Fact]
    public async Task Tcp_endpoint_that_accepts_is_healthy_after_the_first_check()
    {
        await CheckAsync(ListenerPort, "type: tcp");

        Assert.True(Only.Healthy, Only.Reason);
        Assert.Equal("accepts connections", Only.Reason);
        Assert.Equal(1, _changes);
    }

    [Fact]
    public async Task Endpoint_is_asked_at_the_port_that_the_check_names()
    {
        await CheckAsync(1, $"type: tcp, port: {ListenerPort}");

        Assert.True(Only.Healthy, Only.Reason);
    }

    [Fact]
    public async Task Unchecked_endpoint_that_takes_no_datagrams_is_down_until_the_next_interval()
    {
        await CheckAsync(9, "type: none");
        _health.DialFailed("web.shop", new IPEndPoint(IPAddress.Loopback, 9), "Connection refused");
        Assert.True(Only.Healthy, Only.Reason);

        _health.DialFailed("web.shop", new IPEndPoint(IPAddress.Loopback, 9), "Connection refused", datagrams: true);
        Assert.Equal((false, "nobody takes datagrams: Connection refused"), (Only.Healthy, Only.Reason));

        Assert.True(await NextAsync());
    }

    [Fact]
    public async Task Tcp_endpoint_goes_down_at_the_declared_number_of_failures_and_up_at_that_of_successes()
    {
        await CheckAsync(ListenerPort, "type: tcp, failures: 3, successes: 2");
        _listener.Stop();

        Assert.True(await NextAsync());
        Assert.True(await NextAsync());
        Assert.False(await NextAsync());

        using var back = new TcpListener(IPAddress.Loopback, ListenerPort);
        back.Start();
        Assert.False(await NextAsync());
        Assert.True(await NextAsync());
        Assert.Equal(3, _changes);
    }

    [Fact]
    public async Task Never_checked_endpoint_is_healthy_whatever_happens()
    {
        _listener.Stop();
        await CheckAsync(ListenerPort, "type: none");
        _health.DialFailed("web.shop", new IPEndPoint(IPAddress.Loopback, ListenerPort), "refused");

        Assert.True(Only.Healthy);
        Assert.Equal("never checked, as declared", Only.Reason);
    }

    [Fact]
    public async Task Http_endpoint_is_what_its_status_says()
    {
        await using var server = await HttpEndpoint.StartAsync();
        await CheckAsync(server.Port, "type: http, path: /healthz, failures: 1");
        Assert.Equal("GET /healthz answered 200", Only.Reason);
        Assert.True(Only.Healthy);

        foreach (var (status, healthy) in new[] { (399, true), (400, false), (204, true), (503, false), (302, true) })
        {
            server.Status = status;
            Assert.Equal(healthy, await NextAsync());
            Assert.Equal($"GET /healthz answered {status}", Only.Reason);
        }

        Assert.All(server.Paths, p => Assert.Equal("/healthz", p));
    }

    [Fact]
    public async Task Silent_http_endpoint_fails_at_the_timeout()
    {
        // Accepts, in the kernel, and never answers.
        Reconcile(ListenerPort, "type: http");
        await Wait.UntilAsync(() => _time.HasTimerIn(Timeout), () => "the check began");
        _time.Advance(Timeout);
        await Wait.UntilAsync(() => _time.HasTimerIn(Interval), () => "the check ended");

        Assert.False(Only.Healthy);
        Assert.Equal("no answer within 4000 ms", Only.Reason);
    }

    [Fact]
    public async Task Failed_dial_takes_an_endpoint_down_at_once_and_a_check_brings_it_back()
    {
        await CheckAsync(ListenerPort, "type: tcp, failures: 20");
        var endpoint = new IPEndPoint(IPAddress.Loopback, ListenerPort);

        _health.DialFailed("other.shop", endpoint, "refused");
        _health.DialFailed("web.shop", new IPEndPoint(IPAddress.Parse("127.0.0.9"), ListenerPort), "refused");
        Assert.True(Only.Healthy);

        _health.DialFailed("web.shop", endpoint, "refused");
        Assert.False(Only.Healthy);
        Assert.Equal("a stream could not connect: refused", Only.Reason);
        Assert.Equal(2, _changes);
        Assert.True(await NextAsync());
    }

    [Fact]
    public async Task Reconcile_keeps_what_stays_and_forgets_what_goes()
    {
        await CheckAsync(ListenerPort, "type: tcp");
        _listener.Stop();

        Reconcile(ListenerPort, "type: tcp", "  # another text, the same meaning");
        Assert.True(Only.Healthy);
        Assert.Equal(1, _changes);

        Reconcile(ListenerPort, "type: tcp, failures: 5");
        await Wait.UntilAsync(() => !Only.Healthy && Only.Reason != "not checked yet", () => "a changed check begins anew");

        _health.Reconcile(Samples.Accept(Text(ListenerPort, "type: tcp")), "paris");
        Assert.Empty(_health.Of("web.shop", 80));
    }

    [Fact]
    public async Task What_is_not_exported_has_no_endpoints()
    {
        await CheckAsync(ListenerPort, "type: tcp");

        Assert.Empty(_health.Of("web.shop", 81));
        Assert.Empty(_health.Of("web", 80));
    }

    private static string Text(int port, string health) => $$"""
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, gateways: [ { name: paris-1 } ] }
          - { name: virginia, gateways: [ { name: virginia-1 } ] }
        services:
          - name: web
            namespace: shop
            ports: [ { port: 80 } ]
            health: { interval: 10s, timeout: 4s, {{health}} }
            exports: [ { site: virginia, endpoints: [ "127.0.0.1:{{port}}" ] } ]

        """;

    private void Reconcile(int port, string health, string comment = "") =>
        _health.Reconcile(Samples.Accept(Text(port, health) + comment), "virginia");

    private async Task CheckAsync(int port, string health)
    {
        Reconcile(port, health);
        await Wait.UntilAsync(() => _time.HasTimerIn(Interval), () => "the first check ended");
    }

    /// <summary>Runs one more check: whether the endpoint is healthy after it.</summary>
    private async Task<bool> NextAsync()
    {
        _time.Advance(Interval);
        await Wait.UntilAsync(() => _time.HasTimerIn(Interval), () => "the next check ended");
        return Only.Healthy;
    }

    private sealed class HttpEndpoint(WebApplication app) : IAsyncDisposable
    {
        public int Status { get; set; } = 200;
        public List<string> Paths { get; } = [];
        public int Port => new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single()).Port;

        public static async Task<HttpEndpoint> StartAsync()
        {
            var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
            var app = builder.Build();
            var endpoint = new HttpEndpoint(app);
            app.Run(http =>
            {
                endpoint.Paths.Add(http.Request.Path);
                http.Response.StatusCode = endpoint.Status;
                return Task.CompletedTask;
            });
            await app.StartAsync();
            return endpoint;
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }
}
