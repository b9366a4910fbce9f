using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>
/// Every instrument of one gateway, each named once: the page <c>/metrics</c> and the OTLP export read the same ones. Those of the state are observed when
/// somebody collects, and cost nothing until then; those of events are in <see cref="Traffic"/>.
/// </summary>
internal sealed class GatewayMeter : IDisposable
{
    public const string MeterName = "Fabric.Gateway";

    /// <summary>Of durations, in seconds: what the semantic conventions advise for requests, and more for connections, which live longer.</summary>
    public static readonly double[] Durations = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300, 1_800];

    /// <summary>Of what a failover takes, in seconds.</summary>
    public static readonly double[] Pauses = [0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10];

    /// <summary>Of what a processor does by itself, in seconds.</summary>
    public static readonly double[] Moments =
        [0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 1];

    /// <summary>Of packets there and back, in seconds: from one room to another, and round the earth.</summary>
    public static readonly double[] RoundTrips = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2];

    /// <summary>Of how far round trips are from their mean, in seconds: from a quiet wire to a mobile one.</summary>
    public static readonly double[] Jitters =
        [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];

    /// <summary>Of probes lost, as a share: none in the first; a fall of the link, where every one is, beyond the last.</summary>
    public static readonly double[] Losses = [0, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 0.99];

    /// <summary>Of bit rates: a link that is down in the first, then from a radio link to a bundle of fibres.</summary>
    public static readonly double[] BitRates = [0, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9, 2.5e9, 5e9, 1e10, 2.5e10, 4e10, 1e11, 4e11];

    private readonly List<Measure> _measures = [];
    private readonly StateReading _state;

    /// <param name="state">What the gateway knows of itself, read at most once for each collection.</param>
    public GatewayMeter(StateReading state)
    {
        _state = state;
        Meter = new Meter(new MeterOptions(MeterName) { Version = state.Version });
        Traffic = new Traffic(this);
        StateInstruments.Create(this);
        LinkInstruments.Create(this);
        ProcessInstruments.Create(this);
    }

    public Meter Meter { get; }

    public IReadOnlyList<Measure> Measures => _measures;

    /// <summary>What happens, where it is told.</summary>
    public Traffic Traffic { get; }

    public StateReading State => _state;

    public void Dispose() => Meter.Dispose();

    /// <summary>A value that goes up and down.</summary>
    public void Gauge(string name, string unit, string help, Func<Reading, double?> value) =>
        Gauge<double>(name, unit, help, [], now => value(now) is { } one ? [one] : Array.Empty<double>(), v => v, _ => []);

    public void Gauge<T>(
        string name, string unit, string help, string[] attributes, Func<Reading, IEnumerable<T>> items, Func<T, double> value, Func<T, string[]> labels) =>
        Meter.CreateObservableGauge(name, Observe(Add(name, "gauge", unit, help, attributes), items, value, labels), unit, help);

    /// <summary>A number of things that are there now, and that can be summed up.</summary>
    public void Count(string name, string unit, string help, Func<Reading, double> value) =>
        Count<double>(name, unit, help, [], now => [value(now)], v => v, _ => []);

    public void Count<T>(
        string name, string unit, string help, string[] attributes, Func<Reading, IEnumerable<T>> items, Func<T, double> value, Func<T, string[]> labels) =>
        Meter.CreateObservableUpDownCounter(name, Observe(Add(name, "updowncounter", unit, help, attributes), items, value, labels), unit, help);

    /// <summary>What happened since the start.</summary>
    public void Total(string name, string unit, string help, Func<Reading, double> value) =>
        Total<double>(name, unit, help, [], now => [value(now)], v => v, _ => []);

    public void Total<T>(
        string name, string unit, string help, string[] attributes, Func<Reading, IEnumerable<T>> items, Func<T, double> value, Func<T, string[]> labels) =>
        Meter.CreateObservableCounter(name, Observe(Add(name, "counter", unit, help, attributes), items, value, labels), unit, help);

    /// <summary>What happens, and is counted where it does.</summary>
    /// <param name="values">Of the attributes, in their order, for what is counted apart.</param>
    public CountTable<TKey> Counter<TKey>(string name, string unit, string help, string[] attributes, Func<TKey, string[]> values)
        where TKey : notnull
    {
        Add(name, "counter", unit, help, attributes);
        var table = new CountTable<TKey>(attributes, values);
        Meter.CreateObservableCounter(name, table.Read, unit, help);
        return table;
    }

    public Histogram<double> Histogram(string name, string unit, string help, string[] attributes, double[] boundaries)
    {
        Add(name, "histogram", unit, help, attributes);
        return Meter.CreateHistogram(name, unit, help, tags: null, new InstrumentAdvice<double> { HistogramBucketBoundaries = boundaries });
    }

    private Measure Add(string name, string kind, string unit, string help, string[] attributes)
    {
        var measure = new Measure(name, kind, unit, help, attributes);
        _measures.Add(measure);
        return measure;
    }

    private Func<IEnumerable<Measurement<double>>> Observe<T>(
        Measure measure, Func<Reading, IEnumerable<T>> items, Func<T, double> value, Func<T, string[]> labels) => () =>
    {
        if (_state.Now is not { } now)
        {
            return [];
        }

        return items(now).Select(item =>
        {
            var values = labels(item);
            Debug.Assert(values.Length == measure.Attributes.Length, measure.Name);
            return new Measurement<double>(value(item), measure.Attributes.Zip(values, (a, v) => new KeyValuePair<string, object?>(a, v)));
        });
    };
}
