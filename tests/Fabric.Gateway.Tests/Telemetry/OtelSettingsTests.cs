using Fabric.Gateway.Telemetry.Export;

namespace Fabric.Gateway.Tests.Telemetry;

public sealed class OtelSettingsTests
{
    private static OtelSettings Read(params (string Name, string Value)[] variables) =>
        OtelSettings.Read(name => variables.Where(v => v.Name == name).Select(v => v.Value).FirstOrDefault());

    [Fact]
    public void Without_an_endpoint_nothing_is_exported()
    {
        foreach (var settings in new[] { Read(), Read(("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")), Read(("OTEL_TRACES_SAMPLER", "always_on")) })
        {
            Assert.Empty(settings.Targets);
            Assert.Empty(settings.Problems);
            Assert.False(settings.IsDisabled);
        }
    }

    [Fact]
    public void An_endpoint_for_all_is_one_for_each_and_each_may_opt_out()
    {
        Assert.Equal([OtelSignal.Traces, OtelSignal.Metrics, OtelSignal.Logs], Read(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")).Targets.Keys.Order());
        Assert.Equal([OtelSignal.Traces], Read(
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"), ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")).Targets.Keys);
        Assert.Equal([OtelSignal.Logs], Read(("OTEL_LOGS_EXPORTER", "otlp")).Targets.Keys);
        Assert.Equal([OtelSignal.Traces, OtelSignal.Logs], Read(
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"), ("OTEL_METRICS_EXPORTER", "prometheus")).Targets.Keys.Order());
    }

    [Fact]
    public void What_is_set_for_one_signal_is_for_that_one()
    {
        var settings = Read(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector:4318/custom"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "key=secret"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "500"));

        var target = Assert.Single(settings.Targets);
        Assert.Equal((OtelSignal.Traces, new OtlpTarget(new Uri("https://collector:4318/custom"), "http/protobuf", "key=secret", 500)), (target.Key, target.Value));
        Assert.DoesNotContain("secret", settings.ToString() + target.Value, StringComparison.Ordinal);
    }

    [Fact]
    public void Disabled_is_disabled_whatever_else_is_set()
    {
        var settings = Read(("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"));

        Assert.True(settings.IsDisabled);
        Assert.Empty(settings.Targets);
    }

    [Theory]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "is no URL")]
    [InlineData("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "neither grpc nor http/protobuf")]
    [InlineData("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "10s", "no number of milliseconds")]
    [InlineData("OTEL_TRACES_SAMPLER_ARG", "a tenth", "no share from 0 to 1", "parentbased_traceidratio")]
    [InlineData("OTEL_TRACES_SAMPLER_ARG", "1.5", "no share from 0 to 1", "PARENTBASED_TRACEIDRATIO")]
    [InlineData("OTEL_TRACES_SAMPLER", "sometimes", "none of always_on")]
    [InlineData("OTEL_TRACES_EXPORTER", "zipkin", "neither otlp nor none")]
    public void What_makes_no_sense_is_left_out_and_told(string name, string value, string says, string sampler = "")
    {
        var settings = Read((name, value), ("OTEL_TRACES_SAMPLER", sampler));

        var problem = Assert.Single(settings.Problems);
        Assert.StartsWith($"{name} is '{value}'", problem, StringComparison.Ordinal);
        Assert.Contains(says, problem, StringComparison.Ordinal);
        Assert.Empty(settings.Targets);
        Assert.False(settings.HasSampler);
    }

    [Theory]
    [InlineData("", "", 0.05, false)]
    [InlineData("parentbased_traceidratio", "0.25", 0.25, false)]
    [InlineData("ParentBased_TraceIdRatio", "", 1, false)]
    [InlineData("always_off", "", 0, true)]
    [InlineData("parentbased_always_off", "0.5", 0, true)]
    [InlineData("always_on", "0.5", 1, true)]
    [InlineData("parentbased_always_on", "", 1, true)]
    // Of a trace that others began it decides by the trace's number, as of those that begin here: it is asked for each.
    [InlineData("traceidratio", "0.25", 1, true)]
    public void Sampler_says_how_many_connections_are_traced(string sampler, string argument, double share, bool ofSdk)
    {
        var settings = Read(("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument));

        Assert.Equal((share, ofSdk), (settings.TraceShare, settings.HasSampler));
        Assert.Empty(settings.Problems);
    }
}
