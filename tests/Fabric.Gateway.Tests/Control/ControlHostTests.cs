using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Fabric.Gateway.Control;
using Fabric.Gateway.Control.Transport;
using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Tests.Telemetry;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Tunnel;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Control;

/// <summary>The real Kestrel, real sockets and real gRPC; what a daemon would answer, each test says.</summary>
public sealed class ControlHostTests : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private readonly StreamEndPoint _streams = new("control");
    private readonly IPEndPoint _metrics;
    private readonly IPEndPoint _dashboard;
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false });
    private readonly AdminClient _admin;
    private readonly ControlHost _host;
    private readonly List<(string Peer, string Link, LinkFault Fault)> _faults = [];
    private Status? _status = new() { Gateway = "paris-1", Streams = 3 };
    private Func<(string, bool)> _reload = () => ("abc", true);
    private bool _ready = true;
    private bool _alive = true;
    private bool _started = true;

    public ControlHostTests()
    {
        var ports = FreePorts.Take(2);
        (_metrics, _dashboard) = (new IPEndPoint(IPAddress.Loopback, ports[0]), new IPEndPoint(IPAddress.Loopback, ports[1]));
        _host = Host(Services(allowFaults: true));
        _admin = new AdminClient(Socket);
    }

    private string Socket => _folder["run", "s"];

    public Task InitializeAsync() => _host.StartAsync(default);

    public async Task DisposeAsync()
    {
        _admin.Dispose();
        _http.Dispose();
        await _host.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public async Task Status_is_what_the_daemon_says_and_unavailable_before_it_knows()
    {
        Assert.Equal(_status, await _admin.StatusAsync());
        _status = null;
        Assert.Equal(GrpcStatus.Unavailable, (await Assert.ThrowsAsync<GrpcException>(_admin.StatusAsync)).Status);
    }

    [Fact]
    public async Task Watch_tells_changes_and_not_the_passing_of_time()
    {
        var seen = new List<Status>();
        var waiting = _admin.UntilAsync(s =>
        {
            seen.Add(s);
            _status = seen.Count == 1
                ? new Status { Gateway = "paris-1", Streams = 3, UptimeSeconds = 9, CertificateExpiresInSeconds = 8 } : _status;
            return s.Streams == 4;
        });
        await Wait.UntilAsync(() => seen.Count == 1, () => "the first status came");
        _status = new Status { Gateway = "paris-1", Streams = 4, UptimeSeconds = 10 };
        await waiting;

        Assert.Equal([3u, 4u], seen.Select(s => s.Streams));
    }

    [Fact]
    public async Task Refused_topology_is_an_invalid_argument_with_every_error()
    {
        Assert.Equal(new ReloadReply { Revision = "abc", Changed = true }, await _admin.ReloadAsync());
        _reload = () => throw new TopologyRefusedException("a.yaml:1:1: error FAB0101: é\nb.yaml:2:2: error");

        var failure = await Assert.ThrowsAsync<GrpcException>(_admin.ReloadAsync);
        Assert.Equal((GrpcStatus.InvalidArgument, "a.yaml:1:1: error FAB0101: é\nb.yaml:2:2: error"), (failure.Status, failure.Detail));
    }

    [Fact]
    public async Task Faults_are_set_by_their_words()
    {
        await _admin.SetFaultAsync("dx", "cut");
        await _admin.SetFaultAsync("dx", "cut-in", "virginia-1");
        await _admin.SetFaultAsync("dx", "cut-out");
        Assert.Equal(2u, (await _admin.SetFaultAsync("dx", "")).Links);
        Assert.Equal(
            [("", "dx", LinkFault.Cut), ("virginia-1", "dx", LinkFault.CutIn), ("", "dx", LinkFault.CutOut), ("", "dx", LinkFault.None)], _faults);

        await FailsAsync(GrpcStatus.InvalidArgument, "fault 'burn' must be cut, cut-in, cut-out", () => _admin.SetFaultAsync("dx", "burn"));
        await FailsAsync(GrpcStatus.NotFound, "no link 'nowhere'", () => _admin.SetFaultAsync("nowhere", "cut"));
        await FailsAsync(GrpcStatus.NotFound, "to oslo-1", () => _admin.SetFaultAsync("nowhere", "cut", "oslo-1"));
    }

    [Fact]
    public async Task Faults_need_their_permission()
    {
        await _host.DisposeAsync();
        await using var host = Host(Services(allowFaults: false));
        await host.StartAsync(default);
        using var admin = new AdminClient(Socket);

        await FailsAsync(GrpcStatus.PermissionDenied, "--allow-faults", () => admin.SetFaultAsync("dx", "cut"));
        Assert.Empty(_faults);
    }

    [Fact]
    public async Task Drain_limit_is_within_reason()
    {
        Assert.Equal(30u, (await _admin.DrainAsync(30)).Remaining);
        Assert.Equal(3600u, (await _admin.DrainAsync(1e9)).Remaining);
        foreach (var limit in new[] { -1, double.NaN, double.PositiveInfinity })
        {
            await FailsAsync(GrpcStatus.InvalidArgument, "must be from 0 to 3600", () => _admin.DrainAsync(limit));
        }
    }

    [Fact]
    public async Task Peers_reach_the_catalog_and_no_admin_method()
    {
        using var invoker = GrpcHandler.OverStreams(cancellationToken =>
        {
            var (near, far) = DuplexStream.Pair();
            _ = _streams.ServeAsync(far, "virginia-1");
            return Task.FromResult<Stream>(near);
        });
        var client = new GrpcClient(invoker, GrpcHandler.StreamAuthority, TimeProvider.System);
        await foreach (var update in client.ServerStreamingAsync(CatalogMethods.Watch, new CatalogWatchRequest()))
        {
            Assert.Equal(42UL, update.Sequence);
        }

        await UnimplementedAsync(client, AdminMethods.GetStatus);
        await UnimplementedAsync(client, AdminMethods.WatchStatus);
        await UnimplementedAsync(client, AdminMethods.Reload);
        await UnimplementedAsync(client, AdminMethods.SetFault);
        await UnimplementedAsync(client, AdminMethods.Drain);
        await UnimplementedAsync(client, AdminMethods.PublishTrust);
        Assert.Empty(_faults);

        // And the command line has no business with the catalog.
        await FailsAsync(GrpcStatus.Unimplemented, "Watch", () => _admin.CallAsync(CatalogMethods.Watch, new CatalogWatchRequest()));
    }

    [Fact]
    public async Task Admin_methods_are_not_reached_over_tcp()
    {
        foreach (var endpoint in new[] { _metrics, _dashboard })
        {
            using var invoker = GrpcHandler.OverStreams(async cancellationToken =>
            {
                var tcp = new Socket(SocketType.Stream, ProtocolType.Tcp);
                await tcp.ConnectAsync(endpoint, cancellationToken);
                return new NetworkStream(tcp, ownsSocket: true);
            });
            var client = new GrpcClient(invoker, GrpcHandler.StreamAuthority, TimeProvider.System);
            await Assert.ThrowsAsync<GrpcException>(() => client.UnaryAsync(AdminMethods.SetFault, new SetFaultRequest { Link = "dx", Fault = "cut" }));

            using var post = new HttpRequestMessage(HttpMethod.Post, $"http://{endpoint}/fabric.v1.Admin/SetFault") { Content = new ByteArrayContent(new byte[5]) };
            post.Content.Headers.TryAddWithoutValidation("content-type", "application/grpc");
            Assert.Equal(HttpStatusCode.Forbidden, (await _http.SendAsync(post)).StatusCode);
        }

        Assert.Empty(_faults);
    }

    [Fact]
    public async Task Metrics_and_health_are_at_their_address_alone()
    {
        var page = await _http.GetAsync($"http://{_metrics}/metrics");
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", page.Content.Headers.ContentType!.ToString());
        Assert.Equal(3, PrometheusText.Parse(await page.Content.ReadAsStringAsync())["fabric_streams{}"]);
        foreach (var path in new[] { "metrics", "healthz", "livez", "readyz", "startedz" })
        {
            Assert.Equal(HttpStatusCode.OK, await GetAsync(_metrics, path));
            Assert.Equal(HttpStatusCode.NotFound, await GetAsync(_dashboard, path));
        }

        (_ready, _alive) = (false, true);
        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.ServiceUnavailable), (await GetAsync(_metrics, "healthz"), await GetAsync(_metrics, "readyz")));
        using var why = await _http.GetAsync($"http://{_metrics}/readyz");
        Assert.Equal("the gateway is draining\nand more\n", await why.Content.ReadAsStringAsync());
        (_ready, _alive) = (true, false);
        Assert.Equal((HttpStatusCode.ServiceUnavailable, HttpStatusCode.OK), (await GetAsync(_metrics, "livez"), await GetAsync(_metrics, "readyz")));
        Assert.Equal(HttpStatusCode.OK, await GetAsync(_metrics, "startedz"));
        _started = false;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await GetAsync(_metrics, "startedz"));
    }

    [Fact]
    public async Task Metrics_are_in_the_format_that_is_asked_for()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"http://{_metrics}/metrics");
        request.Headers.Add("Accept", "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
        using var answer = await _http.SendAsync(request);

        Assert.Equal("application/openmetrics-text; version=1.0.0; charset=utf-8", answer.Content.Headers.ContentType!.ToString());
        Assert.EndsWith("# EOF\n", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Dashboard_is_a_page_that_loads_nothing_from_elsewhere()
    {
        var page = await _http.GetAsync($"http://{_dashboard}/");
        Assert.Equal("text/html; charset=utf-8", page.Content.Headers.ContentType!.ToString());
        Assert.Contains("default-src 'self'", Assert.Single(page.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        var text = await page.Content.ReadAsStringAsync();
        Assert.Contains("<title>Fabric</title>", text, StringComparison.Ordinal);
        Assert.DoesNotContain("http://", text, StringComparison.Ordinal);
        Assert.DoesNotContain("https://", text, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NotFound, await GetAsync(_metrics, ""));
        Assert.Equal(HttpStatusCode.NotFound, await GetAsync(_dashboard, "../etc/passwd"));

        using var json = JsonDocument.Parse(await _http.GetStringAsync($"http://{_dashboard}/status.json"));
        Assert.Equal(("paris-1", 3), (json.RootElement.GetProperty("gateway").GetString(), json.RootElement.GetProperty("streams").GetInt32()));
        Assert.Equal(JsonValueKind.Array, json.RootElement.GetProperty("problems").ValueKind);
    }

    [Theory]
    [InlineData("evil.example", HttpStatusCode.Forbidden)]
    [InlineData("localhost.evil.example:80", HttpStatusCode.Forbidden)]
    [InlineData("localhost:8700", HttpStatusCode.OK)]
    [InlineData("127.0.0.1", HttpStatusCode.OK)]
    [InlineData("[::1]:9", HttpStatusCode.OK)]
    public async Task Foreign_host_header_is_refused(string host, HttpStatusCode expected)
    {
        foreach (var url in new[] { $"http://{_dashboard}/status.json", $"http://{_metrics}/metrics" })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, url);
            request.Headers.Host = host;
            Assert.Equal(expected, (await _http.SendAsync(request)).StatusCode);
        }
    }

    [Theory]
    [InlineData("http://evil.example", HttpStatusCode.Forbidden)]
    [InlineData("http://localhost:1", HttpStatusCode.Forbidden)]
    [InlineData("https://SELF", HttpStatusCode.Forbidden)]
    [InlineData("null", HttpStatusCode.Forbidden)]
    [InlineData("http://SELF", HttpStatusCode.OK)]
    public async Task Page_of_another_origin_is_refused(string origin, HttpStatusCode expected)
    {
        foreach (var (address, path) in new[] { (_dashboard, "status.json"), (_metrics, "metrics") })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"http://{address}/{path}");
            request.Headers.Add("Origin", origin.Replace("SELF", address.ToString(), StringComparison.Ordinal));
            using var response = await _http.SendAsync(request);
            Assert.Equal(expected, response.StatusCode);
            Assert.Equal(expected == HttpStatusCode.OK, response.Headers.Contains("Cross-Origin-Resource-Policy"));
        }
    }

    [Fact]
    public async Task Address_in_use_is_an_io_error_and_disposing_is_in_order()
    {
        using var other = new TemporaryFolder();
        await using var second = new ControlHost(
            new ControlEndpoints(other["s"], new StreamEndPoint("other"), _metrics, null), Services(allowFaults: false), TimeProvider.System, NullLoggerFactory.Instance);

        await Assert.ThrowsAsync<IOException>(() => second.StartAsync(default));
    }

    private ControlHost Host(ControlServices services) => new(
        new ControlEndpoints(Socket, _streams, _metrics, _dashboard), services, TimeProvider.System, NullLoggerFactory.Instance);

    private ControlServices Services(bool allowFaults) => new()
    {
        Status = () => _status,
        Metrics = openMetrics => openMetrics ? "# EOF\n" : "# HELP fabric_streams Now.\n# TYPE fabric_streams gauge\nfabric_streams 3\n",
        Catalog = (_, _) => new[] { new CatalogUpdate { Sequence = 42 } }.ToAsyncEnumerable(),
        Reload = () => _reload(),
        SetFault = allowFaults ? Set : null,
        Drain = (_, limit, _) => Task.FromResult(new DrainReply { Remaining = (uint)limit.TotalSeconds }),
        Health = new HealthChecks(
            () => _alive ? [] : ["the state loop has stood still for 6 s"], () => _ready ? [] : ["the gateway is draining", "and more"],
            () => _started ? [] : ["the first topology is not applied yet"]),
    };

    private int Set(string peer, string link, LinkFault fault)
    {
        if (link != "dx")
        {
            return 0;
        }

        _faults.Add((peer, link, fault));
        return 2;
    }

    private async Task<HttpStatusCode> GetAsync(IPEndPoint endpoint, string path) => (await _http.GetAsync($"http://{endpoint}/{path}")).StatusCode;

    private static Task UnimplementedAsync<TRequest, TReply>(GrpcClient client, GrpcMethod<TRequest, TReply> method)
        where TRequest : class, IMessage<TRequest>, new()
        where TReply : class, IMessage<TReply>, new() =>
        FailsAsync(GrpcStatus.Unimplemented, method.Path, () => client.UnaryAsync(method, new TRequest()));

    private static async Task FailsAsync(GrpcStatus status, string detail, Func<Task> call)
    {
        var failure = await Assert.ThrowsAsync<GrpcException>(call);
        Assert.Equal(status, failure.Status);
        Assert.Contains(detail, failure.Detail, StringComparison.Ordinal);
    }
}
