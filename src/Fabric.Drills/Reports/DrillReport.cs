using System.Collections.Immutable;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Fabric.Drills.Reports;

/// <summary>What a drill did and found: all steps well, and what the failover cost. Times are in milliseconds.</summary>
/// <param name="Ok">Every step went well, and the failover stayed within its budget.</param>
public sealed record DrillReport(bool Ok, DrillMode Mode, ImmutableArray<DrillStep> Steps, FailoverCost? Failover)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        // Text is for people and goes to a file, not into a page.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        // A measurement that is no number must not cost the report.
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    /// <summary>
    /// The verdict: where a budget is given, it is held against the failover as a last step, named <c>budget</c>. A budget
    /// without a failover measured fails: what was not measured was not shown.
    /// </summary>
    public static DrillReport Of(DrillMode mode, IEnumerable<DrillStep> steps, FailoverCost? failover, DrillBudget? budget)
    {
        ImmutableArray<DrillStep> all = budget is null ? [.. steps] : [.. steps, budget.Judge(failover)];
        return new DrillReport(all.Length > 0 && all.All(s => s.Ok), mode, all, failover);
    }

    /// <summary>
    /// <c>{"ok", "mode": "namespaces"|"loopback", "steps": [{"name", "ok", "milliseconds", "details"}],
    /// "failover": {"detectedMs", "stallMs", "bytesLost", "connectionsDropped"}}</c>; failover is null when none was measured.
    /// </summary>
    public string ToJson() => JsonSerializer.Serialize(this, Json);

    /// <summary>Throws <see cref="JsonException"/> for text that is no report.</summary>
    public static DrillReport FromJson(string json) =>
        JsonSerializer.Deserialize<DrillReport>(json, Json) ?? throw new JsonException("a report is an object, not null");
}

public enum DrillMode
{
    /// <summary>In network namespaces, with links cut in the kernel.</summary>
    Namespaces,

    /// <summary>On loopback, with links cut inside the gateways.</summary>
    Loopback,
}

/// <param name="Details">What was found, one sentence.</param>
public sealed record DrillStep(string Name, bool Ok, double Milliseconds, string Details);

/// <param name="DetectedMs">From the fault to the link being down in the gateway's own view.</param>
/// <param name="StallMs">The longest pause that an application saw.</param>
/// <param name="BytesLost">Bytes sent that never arrived.</param>
/// <param name="ConnectionsDropped">Connections that an application saw break.</param>
public sealed record FailoverCost(double DetectedMs, double StallMs, long BytesLost, int ConnectionsDropped);
