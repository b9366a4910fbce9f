using System.Net;
using Fabric.Gateway.Control.Transport;
using Fabric.Gateway.Telemetry;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Tunnel;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Control;

/// <summary>
/// The gateway's one Kestrel. Where a request came in says what it may ask: the unix socket the admin API, a stream of the
/// tunnel the catalog, the metrics address health and metrics, the dashboard address the dashboard; both show the status as JSON.
/// Nothing else is served.
/// </summary>
internal sealed class ControlHost : IAsyncDisposable
{
    private static readonly JsonFormatter _json = new(JsonFormatter.Settings.Default.WithFormatDefaultValues(true));
    private static readonly byte[] _dashboard = ReadResource("dashboard.html");

    private readonly WebApplication _app;
    private readonly ControlServices _services;
    private readonly GrpcServer _admin;
    private readonly GrpcServer _peers;
    private readonly CancellationTokenSource _stopping = new();

    public ControlHost(ControlEndpoints endpoints, ControlServices services, TimeProvider time, ILoggerFactory logs)
    {
        _services = services;
        _admin = AdminService.Serve(services, time, logs.CreateLogger("Fabric.Control"), _stopping.Token);
        _peers = new GrpcServer(time, logs.CreateLogger("Fabric.Control")) { Stopping = _stopping.Token }
            .ServerStreaming(CatalogMethods.Watch, (request, call) => services.Catalog(Watcher(request, call), call.Cancellation))
            .Health(_ => services.Health.Ready().Count == 0);
        services.Faults?.Serve(_admin);
        services.Faults?.Serve(_peers, static call => call.Features.Get<PeerFeature>()!.Gateway);

        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(logs);
        builder.WebHost.UseKestrelCore().UseControlTransport(endpoints.SocketGroup);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.ListenControlSocket(endpoints.Socket);
            kestrel.ListenStreams(endpoints.Streams);
            kestrel.Listen(endpoints.Metrics);
            if (endpoints.Dashboard is { } dashboard && !dashboard.Equals(endpoints.Metrics))
            {
                kestrel.Listen(dashboard);
            }
        });
        _app = builder.Build();
        _app.Run(http => http.Features.Get<PeerFeature>() is not null ? _peers.InvokeAsync(http)
            : http.Connection.LocalIpAddress is null ? _admin.InvokeAsync(http)
            : ServeHttpAsync(http, Is(http, endpoints.Metrics), Is(http, endpoints.Dashboard)));
    }

    /// <summary>Throws <see cref="IOException"/> when an address is taken.</summary>
    public Task StartAsync(CancellationToken cancellationToken) => _app.StartAsync(cancellationToken);

    public async ValueTask DisposeAsync()
    {
        // Peers watch the catalog for as long as they live: Kestrel would wait for each of them.
        await _stopping.CancelAsync();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        await _app.StopAsync(limit.Token);
        await _app.DisposeAsync();
    }

    /// <summary>Who its certificate says that it is; what the request says, if anything, must be the same.</summary>
    private string Watcher(CatalogWatchRequest request, GrpcCall call)
    {
        var peer = call.Features.Get<PeerFeature>()!.Gateway;
        if (request.Gateway.Length == 0 || request.Gateway == peer)
        {
            return peer;
        }

        _services.WrongName(peer);
        throw new GrpcException(GrpcStatus.PermissionDenied, $"a catalog is watched under one's own name, which is {peer}");
    }

    private async Task ServeHttpAsync(HttpContext http, bool metrics, bool dashboard)
    {
        var response = http.Response;
        if (!HttpMethods.IsGet(http.Request.Method) || !IsLocalName(http.Request.Host) || !IsOwnOrigin(http.Request))
        {
            // A page of another origin must not read the state, nor one whose name was made to resolve here.
            response.StatusCode = StatusCodes.Status403Forbidden;
            return;
        }

        response.Headers.CacheControl = "no-store";
        response.Headers.XContentTypeOptions = "nosniff";
        response.Headers["Cross-Origin-Resource-Policy"] = "same-origin";
        switch (http.Request.Path.Value)
        {
            case "/metrics" when metrics:
                var openMetrics = http.Request.Headers.Accept.ToString().Contains("application/openmetrics-text", StringComparison.OrdinalIgnoreCase);
                await MetricsAsync(response, openMetrics);
                break;
            case "/healthz" or "/livez" when metrics:
                await AnswerAsync(response, _services.Health.Live());
                break;
            case "/readyz" when metrics:
                await AnswerAsync(response, _services.Health.Ready());
                break;
            case "/startedz" when metrics:
                await AnswerAsync(response, _services.Health.Started());
                break;
            case "/status.json" when _services.Status() is { } status:
                response.ContentType = "application/json";
                await response.WriteAsync(_json.Format(status));
                break;
            case "/" when dashboard:
                response.ContentType = "text/html; charset=utf-8";
                response.Headers.ContentSecurityPolicy = "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'";
                await response.Body.WriteAsync(_dashboard);
                break;
            default:
                response.StatusCode = StatusCodes.Status404NotFound;
                break;
        }
    }

    private Task MetricsAsync(HttpResponse response, bool openMetrics)
    {
        if (_services.Metrics is not { } metrics)
        {
            return AnswerAsync(response, ["OTEL_SDK_DISABLED is true: nothing is measured"]);
        }

        response.ContentType = openMetrics ? MetricsPage.OpenMetricsType : MetricsPage.TextType;
        return response.WriteAsync(metrics(openMetrics));
    }

    /// <summary>Whether it is so; when it is not, why, a line each.</summary>
    private static Task AnswerAsync(HttpResponse response, IReadOnlyList<string> problems)
    {
        response.StatusCode = problems.Count == 0 ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
        response.ContentType = "text/plain; charset=utf-8";
        return response.WriteAsync(problems.Count == 0 ? "ok\n" : string.Concat(problems.Select(p => p + "\n")));
    }

    private static bool Is(HttpContext http, IPEndPoint? endpoint) => endpoint is not null
        && http.Connection.LocalPort == endpoint.Port && (endpoint.Address.Equals(http.Connection.LocalIpAddress)
            || endpoint.Address.Equals(IPAddress.Any) || endpoint.Address.Equals(IPAddress.IPv6Any));

    private static bool IsLocalName(HostString host) =>
        host.Host is "localhost" || IPAddress.TryParse(host.Host.Trim('[', ']'), out _);

    /// <summary>No page asks, or one that was served here.</summary>
    private static bool IsOwnOrigin(HttpRequest request) =>
        request.Headers.Origin is not { Count: > 0 } origin || origin.ToString() == $"{request.Scheme}://{request.Host}";

    private static byte[] ReadResource(string name)
    {
        using var resource = typeof(ControlHost).Assembly.GetManifestResourceStream(name)!;
        var bytes = new byte[resource.Length];
        resource.ReadExactly(bytes);
        return bytes;
    }
}

/// <summary>Where the control plane is served.</summary>
internal sealed record ControlEndpoints(string Socket, StreamEndPoint Streams, IPEndPoint Metrics, IPEndPoint? Dashboard)
{
    /// <inheritdoc cref="Hosting.DaemonOptions.SocketGroup"/>
    public string? SocketGroup { get; init; }
}

/// <summary>What the control plane asks of the daemon.</summary>
internal sealed record ControlServices
{
    /// <summary>Null while the first topology is being applied.</summary>
    public required Func<Status?> Status { get; init; }

    /// <summary>The page of metrics, in OpenMetrics or in Prometheus' text format; null: nothing is measured.</summary>
    public Func<bool, string>? Metrics { get; init; }

    /// <summary>For the gateway that watches.</summary>
    public required Func<string, CancellationToken, IAsyncEnumerable<CatalogUpdate>> Catalog { get; init; }

    /// <summary>Null, or why the user of that number may not call the admin API now.</summary>
    public Func<uint, string?> AdmitAdmin { get; init; } = _ => null;

    /// <summary>A gateway asked for a catalog under another name than its own, and got none.</summary>
    public Action<string> WrongName { get; init; } = _ => { };

    /// <summary>Reads the topology again: its revision and whether it changed. Throws <see cref="TopologyRefusedException"/>.</summary>
    public required Func<(string Revision, bool Changed)> Reload { get; init; }

    /// <summary>Waits until what <see cref="Reload"/> accepted is in force; false when that takes too long.</summary>
    public Func<CancellationToken, Task<bool>> InForce { get; init; } = _ => Task.FromResult(true);

    /// <summary>Peer (or empty), link, fault: how many links it touched. Null where faults are not allowed.</summary>
    public required Func<string, string, LinkFault, int>? SetFault { get; init; }

    /// <summary>Faults of drills, and events. Null: neither is served.</summary>
    public Faults.FaultsService? Faults { get; init; }

    /// <summary>The limit is within reason.</summary>
    public required Func<DrainRequest, TimeSpan, CancellationToken, Task<DrainReply>> Drain { get; init; }

    /// <summary>What DNS answers, and why. Throws <see cref="GrpcException"/> for what is no name or type.</summary>
    public Func<ResolveNameRequest, Task<ResolveNameReply>> ResolveName { get; init; } =
        _ => throw new GrpcException(GrpcStatus.Unavailable, "the gateway is starting");
    public required HealthChecks Health { get; init; }

    /// <summary>Takes a trust document: the version that holds then. Throws what <see cref="Trust.TrustKeeper.Publish"/> throws.</summary>
    public Func<SignedTrust, ulong> PublishTrust { get; init; } = _ => throw new Identity.Trust.TrustRefusedException("no document is taken here");
}

/// <summary>A topology that is not accepted; the message holds every error.</summary>
internal sealed class TopologyRefusedException(string message) : Exception(message);
