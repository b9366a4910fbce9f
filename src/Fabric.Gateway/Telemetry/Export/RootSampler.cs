using Fabric.Gateway.Telemetry.Traces;
using OpenTelemetry.Trace;

namespace Fabric.Gateway.Telemetry.Export;

/// <summary>A share of the traces that begin here. Connections were drawn before it is asked (<see cref="Spans.Untraced"/>); of what is rare, it draws.</summary>
/// <param name="share">From 0 to 1.</param>
internal sealed class RootSampler(double share) : Sampler
{
    private readonly TraceIdRatioBasedSampler _others = new(share);

    public override SamplingResult ShouldSample(in SamplingParameters samplingParameters) => samplingParameters.Name == Spans.Connection
        ? new SamplingResult(SamplingDecision.RecordAndSample) : _others.ShouldSample(samplingParameters);
}
