using System.Text.Json;
using System.Text.Json.Serialization;

namespace Fabric.Lab.Demo;

/// <summary>One step of the demo and what came of it.</summary>
public sealed record DemoStep(string Name, bool Ok, long Milliseconds, string Details);

/// <summary>
/// What the silent cut did. Milliseconds: from the last good answer until the link was called down, and the longest time without
/// a byte at the client. Null when the step did not come to it.
/// </summary>
public sealed record DemoFailover(double? DetectedMs, double? StallMs, long? BytesLost, int? ConnectionsDropped);

/// <summary>The results as <c>--json</c> writes them.</summary>
public sealed record DemoReport(string Mode, IReadOnlyList<DemoStep> Steps, DemoFailover Failover)
{
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.Never,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    [JsonPropertyOrder(-1)]
    public bool Ok => Steps.Count > 0 && Steps.All(s => s.Ok);

    public string ToJson() => JsonSerializer.Serialize(this, Format) + "\n";
}
