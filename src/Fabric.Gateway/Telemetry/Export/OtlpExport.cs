using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Gateway.Telemetry.Traces;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Fabric.Gateway.Telemetry.Export;

/// <summary>
/// Sends metrics, traces and log events by OTLP, where <see cref="OtelSettings"/> say so. Whatever is slow or out of reach there never holds the gateway up:
/// spans and log events wait in queues of 2,048 each (<c>OTEL_BSP_…</c>, <c>OTEL_BLRP_…</c>), and what does not fit is dropped.
/// </summary>
internal sealed class OtlpExport : IAsyncDisposable
{
    /// <summary>For what is still to be sent when the gateway stops.</summary>
    private const int FlushMilliseconds = 2_000;

    private readonly TracerProvider? _traces;
    private readonly MeterProvider? _metrics;
    private readonly ILoggerFactory? _logs;

    private OtlpExport(OtelSettings settings, ResourceBuilder resource, GatewayMeter meter, ILoggerFactory logs)
    {
        if (settings.Targets.TryGetValue(OtelSignal.Traces, out var traces))
        {
            var builder = Sdk.CreateTracerProviderBuilder().SetResourceBuilder(resource).AddSource(Spans.SourceName);
            if (!settings.HasSampler)
            {
                builder.SetSampler(new ParentBasedSampler(new RootSampler(settings.TraceShare)));
            }

            _traces = builder.AddOtlpExporter(o => Apply(o, traces)).Build();
        }

        if (settings.Targets.TryGetValue(OtelSignal.Metrics, out var metrics))
        {
            var limits = meter.Measures.ToDictionary(m => m.Name, m => m.Limit, StringComparer.Ordinal);
            _metrics = Sdk.CreateMeterProviderBuilder().SetResourceBuilder(resource).AddMeter(GatewayMeter.MeterName, MetricsPage.RuntimeMeter)
                .AddView(i => limits.TryGetValue(i.Name, out var limit) && limit < Measure.MostSeries ? new MetricStreamConfiguration { CardinalityLimit = limit } : null)
                .AddOtlpExporter((o, _) => Apply(o, metrics)).Build();
        }

        if (settings.Targets.TryGetValue(OtelSignal.Logs, out var lines))
        {
            _logs = LoggerFactory.Create(builder => Logging.Levels(builder).AddOpenTelemetry(o =>
            {
                o.SetResourceBuilder(resource);
                o.IncludeFormattedMessage = true;
                o.ParseStateValues = true;
                o.AddOtlpExporter(e => Apply(e, lines));
            }));
            logs.AddProvider(new Forwarding(_logs));
        }
    }

    /// <summary>Null when nothing is to be exported.</summary>
    /// <param name="settings">What, and where to.</param>
    /// <param name="version">Of the daemon.</param>
    /// <param name="gateway">Its name.</param>
    /// <param name="site">Where it is.</param>
    /// <param name="meter">Its instruments.</param>
    /// <param name="logs">Whose lines are exported as well, from now on.</param>
    public static OtlpExport? Start(OtelSettings settings, string version, string gateway, string site, GatewayMeter meter, ILoggerFactory logs)
    {
        if (settings.Targets.IsEmpty)
        {
            return null;
        }

        // The variables come last: they go before what is said here.
        var resource = ResourceBuilder.CreateEmpty()
            .AddService("fabricd", serviceVersion: version, serviceInstanceId: gateway)
            .AddAttributes([new("fabric.gateway", gateway), new("fabric.site", site), new("process.pid", (long)Environment.ProcessId), new("host.name", Environment.MachineName)])
            .AddTelemetrySdk()
            .AddEnvironmentVariableDetector();
        return new OtlpExport(settings, resource, meter, logs);
    }

    public async ValueTask DisposeAsync() => await Task.WhenAll(
        Task.Run(() =>
        {
            _traces?.Shutdown(FlushMilliseconds);
            _traces?.Dispose();
        }),
        Task.Run(() =>
        {
            _metrics?.Shutdown(FlushMilliseconds);
            _metrics?.Dispose();
        }),
        Task.Run(() => _logs?.Dispose()));

    private static void Apply(OtlpExporterOptions options, OtlpTarget target)
    {
        options.Protocol = target.Protocol switch
        {
            "grpc" => OtlpExportProtocol.Grpc,
            "http/protobuf" => OtlpExportProtocol.HttpProtobuf,
            _ => options.Protocol,
        };
        options.Headers = target.Headers ?? options.Headers;
        options.TimeoutMilliseconds = target.Timeout ?? options.TimeoutMilliseconds;
        if (target.Endpoint is { } endpoint)
        {
            options.Endpoint = endpoint;
        }
    }

    /// <summary>Another factory's loggers, as a provider of this one: the resource is known only when the gateway is, and lines are logged before.</summary>
    private sealed class Forwarding(ILoggerFactory to) : ILoggerProvider
    {
        public ILogger CreateLogger(string categoryName) => to.CreateLogger(categoryName);

        public void Dispose()
        {
        }
    }
}
