using System.Text.Encodings.Web;
using System.Text.Json;

namespace Fabric.Lab.Demo;

/// <summary>What the demo did and found. Times are in milliseconds.</summary>
/// <param name="Mode"><c>namespaces</c> or <c>loopback</c>.</param>
/// <param name="Failover">What the silent cut did; null when the story did not come to it.</param>
public sealed record DemoReport(bool Ok, string Mode, IReadOnlyList<DemoStep> Steps, FailoverCost? Failover)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        // Text is for people and goes to a file, not into a page.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>
    /// <c>{"ok", "mode", "steps": [{"name", "ok", "milliseconds", "details"}],
    /// "failover": {"detectedMs", "stallMs", "bytesLost", "connectionsDropped"}}</c>.
    /// </summary>
    public string ToJson() => JsonSerializer.Serialize(this, Json);

    /// <summary>Each step that did not hold, and why, as lines; empty when all did.</summary>
    public string Failures() => string.Concat(Steps.Select((s, i) => s.Ok ? "" : $"FAILED: {i + 1}. {s.Name}: {s.Details.TrimEnd()}\n"));
}

/// <param name="Details">What was found, one sentence; of a step that did not hold, what was wrong.</param>
public sealed record DemoStep(string Name, bool Ok, double Milliseconds, string Details);

/// <param name="DetectedMs">From the fault to the link being down in the gateway's own view.</param>
/// <param name="StallMs">The longest pause that an application saw.</param>
/// <param name="BytesLost">Bytes sent that never arrived.</param>
/// <param name="ConnectionsDropped">Connections that an application saw break.</param>
public sealed record FailoverCost(double DetectedMs, double StallMs, long BytesLost, int ConnectionsDropped);
