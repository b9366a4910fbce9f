using System.Collections.Immutable;
using System.Globalization;

namespace Fabric.Gateway.Telemetry.Export;

/// <summary>A signal of OpenTelemetry, as its variables spell it.</summary>
internal enum OtelSignal
{
    Traces,
    Metrics,
    Logs,
}

/// <summary>
/// What the variables <c>OTEL_*</c> ask for (specification of OpenTelemetry, "Environment Variable Specification" and "OTLP Exporter"). A value that makes no
/// sense is left out, as the specification asks, and is told in <see cref="Problems"/>. Variables that are not here (batches, limits, intervals, service
/// name, resource) the SDK reads by itself.
/// </summary>
internal sealed record OtelSettings
{
    private static readonly string[] _samplers =
        ["always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", ParentBasedShare];

    /// <summary>Nothing is exported; metrics are measured for <c>/metrics</c>.</summary>
    public static OtelSettings None { get; } = new();

    /// <summary><c>OTEL_SDK_DISABLED=true</c>: nothing is measured either.</summary>
    public bool IsDisabled { get; init; }

    /// <summary>Signals that are exported, with what is set for each alone.</summary>
    public ImmutableDictionary<OtelSignal, OtlpTarget> Targets { get; init; } = ImmutableDictionary<OtelSignal, OtlpTarget>.Empty;

    /// <summary>Share of the connections that are traced unless <c>OTEL_TRACES_SAMPLER</c> says otherwise: what tracing costs is in proportion to it.</summary>
    public const double DefaultTraceShare = 0.05;

    private const string ParentBasedShare = "parentbased_traceidratio";

    /// <summary>Whether the sampler is one that the SDK makes, as <c>OTEL_TRACES_SAMPLER</c> says; else it is <see cref="RootSampler"/> with the share.</summary>
    public bool HasSampler { get; init; }

    /// <summary>
    /// Of the traces that would begin here, how many do, from 0 to 1: it is decided before anything is made for one. 1: all are offered to the sampler, or to whoever listens.
    /// </summary>
    public double TraceShare { get; init; } = 1;

    /// <summary>Variables that were left out, and why.</summary>
    public ImmutableArray<string> Problems { get; init; } = [];

    /// <summary>
    /// A signal is exported when an endpoint is set for it or for all, or its <c>OTEL_…_EXPORTER</c> says <c>otlp</c>; never when that says <c>none</c>.
    /// </summary>
    public static OtelSettings Read(Func<string, string?> variable)
    {
        // An empty one is as good as none (specification, "Parsing empty value").
        string? Get(string name) => variable(name) is { } value && value.Trim() is { Length: > 0 } trimmed ? trimmed : null;
        if (string.Equals(Get("OTEL_SDK_DISABLED"), "true", StringComparison.OrdinalIgnoreCase))
        {
            return new OtelSettings { IsDisabled = true };
        }

        var problems = ImmutableArray.CreateBuilder<string>();
        var targets = ImmutableDictionary.CreateBuilder<OtelSignal, OtlpTarget>();
        var common = Target("OTEL_EXPORTER_OTLP", Get, problems);
        foreach (var signal in Enum.GetValues<OtelSignal>())
        {
            var name = signal.ToString().ToUpperInvariant();
            var own = Target($"OTEL_EXPORTER_OTLP_{name}", Get, problems);
            if (Exports($"OTEL_{name}_EXPORTER", Get, problems) ?? (own.Endpoint ?? common.Endpoint) is not null)
            {
                targets[signal] = own;
            }
        }

        var sampler = Get("OTEL_TRACES_SAMPLER");
        if (sampler is not null && !_samplers.Contains(sampler, StringComparer.OrdinalIgnoreCase))
        {
            problems.Add($"OTEL_TRACES_SAMPLER is '{sampler}', which is none of {string.Join(", ", _samplers)}: it is left out");
            sampler = null;
        }

        // The SDK's own samplers are asked when a span is made, which is what a share is to spare. Those that look at parents say the same of what begins here.
        var isShare = sampler is null || sampler.Equals(ParentBasedShare, StringComparison.OrdinalIgnoreCase);
        return new OtelSettings
        {
            Targets = targets.ToImmutable(),
            HasSampler = !isShare,
            TraceShare = sampler is null ? DefaultTraceShare : isShare ? Share(Get("OTEL_TRACES_SAMPLER_ARG"), problems)
                : sampler.EndsWith("always_off", StringComparison.OrdinalIgnoreCase) ? 0 : 1,
            Problems = problems.ToImmutable(),
        };
    }

    private static double Share(string? value, ImmutableArray<string>.Builder problems)
    {
        if (value is null)
        {
            return 1;
        }

        if (double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var share) && share is >= 0 and <= 1)
        {
            return share;
        }

        problems.Add($"OTEL_TRACES_SAMPLER_ARG is '{value}', which is no share from 0 to 1: it is left out, and all are traced");
        return 1;
    }

    /// <summary>Null when it does not say.</summary>
    private static bool? Exports(string name, Func<string, string?> get, ImmutableArray<string>.Builder problems)
    {
        if (get(name) is not { } value)
        {
            return null;
        }

        var words = value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        foreach (var other in words.Where(w => w is not ("otlp" or "none" or "prometheus")))
        {
            problems.Add($"{name} is '{value}': '{other}' is neither otlp nor none, and is left out");
        }

        // The page for Prometheus is there in any case.
        return words.Contains("otlp") ? true : words.Contains("none") || words.Contains("prometheus") ? false : null;
    }

    private static OtlpTarget Target(string prefix, Func<string, string?> get, ImmutableArray<string>.Builder problems)
    {
        Uri? endpoint = null;
        if (get($"{prefix}_ENDPOINT") is { } address
            && (!Uri.TryCreate(address, UriKind.Absolute, out endpoint) || endpoint.Scheme is not ("http" or "https")))
        {
            problems.Add($"{prefix}_ENDPOINT is '{address}', which is no URL: it is left out (write http://HOST:4317 for grpc, http://HOST:4318 for http/protobuf)");
            endpoint = null;
        }

        var protocol = get($"{prefix}_PROTOCOL");
        if (protocol is not (null or "grpc" or "http/protobuf"))
        {
            problems.Add($"{prefix}_PROTOCOL is '{protocol}', which is neither grpc nor http/protobuf: it is left out");
            protocol = null;
        }

        int? timeout = null;
        if (get($"{prefix}_TIMEOUT") is { } text)
        {
            if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var milliseconds) && milliseconds > 0)
            {
                timeout = milliseconds;
            }
            else
            {
                problems.Add($"{prefix}_TIMEOUT is '{text}', which is no number of milliseconds: it is left out");
            }
        }

        return new OtlpTarget(endpoint, protocol, get($"{prefix}_HEADERS"), timeout);
    }
}

/// <summary>What variables say of one signal alone; null: those of all signals hold.</summary>
/// <param name="Endpoint">For HTTP the whole URL, path and all.</param>
/// <param name="Protocol"><c>grpc</c> or <c>http/protobuf</c>.</param>
/// <param name="Headers"><c>key=value,key=value</c>; may hold secrets, and is never logged.</param>
/// <param name="Timeout">Milliseconds.</param>
internal sealed record OtlpTarget(Uri? Endpoint, string? Protocol, string? Headers, int? Timeout)
{
    public override string ToString() => $"{Endpoint} {Protocol}";
}
