using System.Diagnostics.Metrics;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>What an instrument is, as the table in <c>Telemetry/README.md</c> has it.</summary>
/// <param name="Name">By the semantic conventions of OpenTelemetry where they have one, else <c>fabric.…</c></param>
/// <param name="Kind"><c>counter</c>, <c>updowncounter</c>, <c>gauge</c> or <c>histogram</c>.</param>
/// <param name="Unit">By UCUM; braces for what is counted.</param>
/// <param name="Help">One sentence.</param>
/// <param name="Attributes">All that its measurements may have; those of the state have all of them.</param>
internal sealed record Measure(string Name, string Kind, string Unit, string Help, string[] Attributes)
{
    /// <summary>
    /// Most combinations of attributes that it is kept for; what is beyond it is summed up under the one attribute <c>otel.metric.overflow</c>, as the
    /// specification of OpenTelemetry's metrics SDK has it.
    /// </summary>
    public int Limit => Attributes.Length == 0 ? 1 : MostSeries;

    public const int MostSeries = 2_000;

    /// <summary>Attribute of the series that has what did not get one of its own.</summary>
    public const string Overflow = "otel.metric.overflow";

    /// <summary>That attribute with its value.</summary>
    public static KeyValuePair<string, object?> Rest { get; } = new(Overflow, true);

    public static string KindOf(Instrument instrument) => instrument.GetType().Name.Replace("Observable", "", StringComparison.Ordinal).Split('`')[0].ToLowerInvariant();
}
