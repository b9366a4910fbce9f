using System.Diagnostics.Metrics;
using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Tests.Telemetry;

/// <summary>The table of instruments in <c>Telemetry/README.md</c> is held against the code, both ways.</summary>
public sealed class InstrumentTableTests
{
    private static readonly string _table = Path.Combine("src", "Fabric.Gateway", "Telemetry", "README.md");

    [Fact]
    public void Table_says_what_the_code_has()
    {
        using var meter = Meter();
        var rows = File.ReadLines(Path.Combine(Root(), _table)).SkipWhile(l => l != "## Metrics").Skip(1).TakeWhile(l => !l.StartsWith("## ", StringComparison.Ordinal))
            .Where(l => l.StartsWith("| `", StringComparison.Ordinal)).ToList();
        var expected = meter.Measures.OrderBy(m => m.Name, StringComparer.Ordinal)
            .Select(m => $"| `{m.Name}` | {m.Kind} | {m.Unit} | {string.Join(", ", m.Attributes.Select(a => $"`{a}`"))} | {m.Help} |").ToList();

        Assert.True(expected.SequenceEqual(rows), $"the table in {_table} is to be:\n{string.Join('\n', expected)}");
    }

    [Fact]
    public void Measures_are_the_instruments_of_the_meter()
    {
        using var meter = Meter();
        var found = new List<(string, string, string)>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, _) =>
            {
                if (ReferenceEquals(instrument.Meter, meter.Meter))
                {
                    found.Add((instrument.Name, Measure.KindOf(instrument), instrument.Unit ?? ""));
                }
            },
        };
        listener.Start();

        Assert.Equal(meter.Measures.Select(m => (m.Name, m.Kind, m.Unit)).Order(), found.Order());
        Assert.Equal(meter.Measures.Count, meter.Measures.DistinctBy(m => m.Name).Count());
    }

    [Fact]
    public void No_two_instruments_have_one_name_on_the_page()
    {
        using var meter = Meter();
        var names = meter.Measures.Select(m => MetricsPage.NameOf(m.Name, m.Unit, m.Kind)).ToList();

        Assert.Equal(names.Count, names.Distinct().Count());
    }

    /// <summary>Units are not in names; what has a convention's name has no other.</summary>
    [Fact]
    public void Names_follow_the_conventions()
    {
        using var meter = Meter();
        Assert.All(meter.Measures, m =>
        {
            Assert.Matches("^(fabric|process|http|dns)(\\.[a-z][a-z0-9_]*)+$", m.Name);
            Assert.DoesNotMatch("(seconds|bytes|total|ratio)$", m.Name);
            Assert.NotEqual("", m.Unit);
        });
    }

    private static GatewayMeter Meter() => new(new StateReading("1", () => new Status(), () => new DaemonCounters(), TimeProvider.System));

    private static string Root()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Fabric.sln")))
        {
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("Fabric.sln is in no folder above the tests");
        }

        return folder;
    }
}
