using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
using Fabric.Gateway.Telemetry.Metrics;

namespace Fabric.Gateway.Telemetry;

/// <summary>
/// The instruments of a gateway as a page for Prometheus: the text exposition 0.0.4, or OpenMetrics 1.0. Names are those of OpenTelemetry, made into
/// Prometheus' own as its compatibility specification says: dots become underscores, the unit and <c>_total</c> are appended.
/// </summary>
internal sealed class MetricsPage : IDisposable
{
    public const string TextType = "text/plain; version=0.0.4; charset=utf-8";
    public const string OpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// <summary>What the runtime tells of itself, of the whole process.</summary>
    public const string RuntimeMeter = "System.Runtime";

    private readonly MeterListener _listener = new();
    private readonly ConcurrentQueue<SeriesTable> _tables = new();
    private readonly Lock _rendering = new();
    private readonly StateReading _state;

    public MetricsPage(GatewayMeter meter)
    {
        _state = meter.State;
        var limits = meter.Measures.ToDictionary(m => m.Name, m => m.Limit, StringComparer.Ordinal);
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (ReferenceEquals(instrument.Meter, meter.Meter) || instrument.Meter.Name == RuntimeMeter)
            {
                var table = new SeriesTable(instrument, limits.GetValueOrDefault(instrument.Name, Measure.MostSeries));
                _tables.Enqueue(table);
                listener.EnableMeasurementEvents(instrument, table);
            }
        };
        _listener.SetMeasurementEventCallback<double>(static (_, value, tags, table) => ((SeriesTable)table!).Add(value, tags));
        _listener.SetMeasurementEventCallback<long>(static (_, value, tags, table) => ((SeriesTable)table!).Add(value, tags));
        _listener.SetMeasurementEventCallback<int>(static (_, value, tags, table) => ((SeriesTable)table!).Add(value, tags));
        _listener.Start();
    }

    /// <summary>Instruments of which anything is shown.</summary>
    public IEnumerable<Instrument> Instruments => _tables.Select(t => t.Instrument);

    public string Render(bool openMetrics = false)
    {
        lock (_rendering)
        {
            _state.Renew();
            foreach (var table in _tables)
            {
                table.Forget();
            }

            _listener.RecordObservableInstruments();
            var text = new StringBuilder(32 * 1024);
            foreach (var table in _tables.OrderBy(t => t.Instrument.Name, StringComparer.Ordinal))
            {
                Write(text, table, openMetrics);
            }

            return text.Append(openMetrics ? "# EOF\n" : "").ToString();
        }
    }

    public void Dispose() => _listener.Dispose();

    private static void Write(StringBuilder text, SeriesTable table, bool openMetrics)
    {
        var (type, name) = (table.Kind == "updowncounter" ? "gauge" : table.Kind, NameOf(table.Instrument.Name, table.Instrument.Unit, table.Kind));
        var series = table.Read();
        if (series.Count == 0)
        {
            return;
        }

        var family = openMetrics && type == "counter" ? name[..^"_total".Length] : name;
        var help = (table.Instrument.Description ?? "").Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
        text.Append("# HELP ").Append(family).Append(' ').Append(openMetrics ? help.Replace("\"", "\\\"", StringComparison.Ordinal) : help)
            .Append("\n# TYPE ").Append(family).Append(' ').Append(type).Append('\n');
        foreach (var (tags, one) in series)
        {
            if (one.Buckets is { } buckets)
            {
                var sum = 0L;
                for (var i = 0; i < buckets.Length; i++)
                {
                    sum += buckets[i];
                    Line(text, name + "_bucket", tags, sum, i < table.Boundaries.Length ? Number(table.Boundaries[i]) : "+Inf");
                }

                Line(text, name + "_sum", tags, one.Value);
                Line(text, name + "_count", tags, one.Count);
            }
            else
            {
                Line(text, name, tags, one.Value);
            }
        }
    }

    /// <summary>Of Prometheus, for an instrument.</summary>
    internal static string NameOf(string name, string? unit, string kind)
    {
        var words = new StringBuilder(name.Length + 16);
        foreach (var c in name)
        {
            words.Append(char.IsAsciiLetterOrDigit(c) ? c : '_');
        }

        var suffix = unit switch
        {
            "s" => "_seconds",
            "By" => "_bytes",
            "bit/s" => "_bits_per_second",
            "1" when kind == "gauge" => "_ratio",
            _ => "",
        };
        return words.Append(suffix).Append(kind == "counter" ? "_total" : "").ToString();
    }

    private static void Line(StringBuilder text, string name, KeyValuePair<string, object?>[] tags, double value, string? upTo = null)
    {
        text.Append(name);
        if (tags.Length > 0 || upTo is not null)
        {
            var before = '{';
            foreach (var (key, label) in tags)
            {
                text.Append(before).Append(key.Replace('.', '_')).Append("=\"").Append(Escape(Text(label))).Append('"');
                before = ',';
            }

            if (upTo is not null)
            {
                text.Append(before).Append("le=\"").Append(upTo).Append('"');
            }

            text.Append('}');
        }

        text.Append(' ').Append(Number(value)).Append('\n');
    }

    private static string Text(object? label) => label is bool truth ? truth ? "true" : "false" : Convert.ToString(label, CultureInfo.InvariantCulture) ?? "";

    private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static string Escape(string value) =>
        value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)
            .Replace("\n", "\\n", StringComparison.Ordinal);
}
