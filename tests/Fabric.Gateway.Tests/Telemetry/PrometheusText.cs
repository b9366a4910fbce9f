using System.Globalization;
using System.Text.RegularExpressions;

namespace Fabric.Gateway.Tests.Telemetry;

/// <summary>A strict reader of the Prometheus text exposition, 0.0.4: what it does not know is an error.</summary>
internal sealed partial class PrometheusText
{
    public Dictionary<string, string> Types { get; } = [];

    /// <summary>Values by name and labels in order of their names: <c>name{a=1,b=2}</c>, unescaped.</summary>
    public Dictionary<string, double> Samples { get; } = [];

    public static PrometheusText Parse(string text)
    {
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        var page = new PrometheusText();
        var helped = new HashSet<string>();
        var current = "";
        foreach (var line in text[..^1].Split('\n'))
        {
            if (line.StartsWith("# HELP ", StringComparison.Ordinal))
            {
                current = line.Split(' ')[2];
                Assert.True(helped.Add(current), $"{current} is described twice");
            }
            else if (line.StartsWith("# TYPE ", StringComparison.Ordinal))
            {
                var words = line.Split(' ');
                Assert.Equal(current, words[2]);
                Assert.Contains(words[3], new[] { "gauge", "counter", "histogram" });
                page.Types.Add(words[2], words[3]);
            }
            else
            {
                var match = Sample().Match(line);
                Assert.True(match.Success, $"not a sample: {line}");
                var name = match.Groups["name"].Value;
                Assert.Contains(name, page.Types[current] == "histogram" ? [$"{current}_bucket", $"{current}_sum", $"{current}_count"] : new[] { current });
                var labels = Label().Matches(match.Groups["labels"].Value)
                    .Select(l => $"{l.Groups[1].Value}={Unescape(l.Groups[2].Value)}").Order(StringComparer.Ordinal);
                page.Samples.Add($"{name}{{{string.Join(',', labels)}}}",
                    double.Parse(match.Groups["value"].Value, CultureInfo.InvariantCulture));
            }
        }

        Assert.Equal(helped.Order(), page.Types.Keys.Order());
        return page;
    }

    public double this[string sample] => Samples[sample];

    private static string Unescape(string text) =>
        Escape().Replace(text, e => e.Value switch { "\\n" => "\n", _ => e.Value[1..] });

    [GeneratedRegex("""^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?<labels>([a-z_]+="(\\[\\"n]|[^"\\])*"(,|(?=\})))*)\})? (?<value>NaN|[+-]?[0-9][0-9.]*([eE][+-]?[0-9]+)?)$""")]
    private static partial Regex Sample();

    [GeneratedRegex(@"([a-z_]+)=""((?:\\.|[^""\\])*)""")]
    private static partial Regex Label();

    [GeneratedRegex("""\\.""")]
    private static partial Regex Escape();
}
