using System.Globalization;
using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace Fabric.Drills.Reports;

/// <summary>
/// A run as JUnit XML, as CI systems read it: one suite, a case for each verdict, for each guard, and for the outcome, so that a run that was
/// stopped before its first verdict is red all the same.
/// </summary>
public static class JUnitReport
{
    public static string Write(DrillRecord record)
    {
        var cases = Cases(record).ToList();
        var suite = new XElement("testsuite",
            new XAttribute("name", Clean(record.Drill.Name)),
            new XAttribute("tests", cases.Count),
            new XAttribute("failures", cases.Count(c => c.Element("failure") is not null)),
            new XAttribute("errors", cases.Count(c => c.Element("error") is not null)),
            new XAttribute("skipped", 0),
            new XAttribute("time", Seconds(record.Ended - record.Began)),
            new XAttribute("timestamp", record.Began.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss", CultureInfo.InvariantCulture)),
            new XElement("properties",
                Property("run", record.Id),
                Property("owner", record.Drill.Owner),
                Property("reason", record.Drill.Reason),
                Property("fabric", record.Fabric),
                Property("version", record.Version),
                Property("topology", record.TopologyRevision)),
            cases,
            new XElement("system-out", Clean(Log(record))));
        var document = new XDocument(new XElement("testsuites",
            new XAttribute("name", "fabric drill"),
            suite.Attribute("tests"),
            suite.Attribute("failures"),
            suite.Attribute("errors"),
            suite.Attribute("time"),
            suite));
        using var text = new StringWriter(CultureInfo.InvariantCulture);
        using (var writer = XmlWriter.Create(text, new XmlWriterSettings { Indent = true, OmitXmlDeclaration = true }))
        {
            document.Save(writer);
        }

        return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + text.ToString().ReplaceLineEndings("\n") + "\n";
    }

    private static IEnumerable<XElement> Cases(DrillRecord record)
    {
        yield return Case(record, "outcome", "outcome", record.Outcome switch
        {
            DrillOutcome.Passed => null,
            DrillOutcome.Failed or DrillOutcome.Refused => Bad("failure", record.Outcome.ToString(), record.Why),
            _ => Bad("error", record.Outcome.ToString(), record.Why),
        });
        foreach (var verdict in record.Verdicts)
        {
            var seen = $"expected {verdict.Expected}, seen {verdict.Seen}";
            yield return Case(record, "budget", verdict.Name,
                verdict.Held ? null : Bad("failure", "budget", verdict.Note.Length > 0 ? $"{seen}: {verdict.Note}" : seen));
        }

        foreach (var guard in record.Guards)
        {
            yield return Case(record, "guards", guard.Guard, guard.Allowed ? null : Bad("failure", "guard", guard.Reason));
        }

        foreach (var action in record.Actions.Where(a => a.Applied is not null))
        {
            yield return Case(record, "put back", $"{action.Action.Id} at {action.Gateway}",
                action.RevertedForSure ? null : Bad("error", "not reverted", $"{action.Action.Kind}: {action.Ended}"));
        }
    }

    private static XElement Case(DrillRecord record, string part, string name, XElement? bad) => new("testcase",
        new XAttribute("classname", Clean($"drill.{record.Drill.Name}.{part}")),
        new XAttribute("name", Clean(name)),
        new XAttribute("time", part == "outcome" ? Seconds(record.Ended - record.Began) : "0"),
        bad);

    private static XElement Bad(string element, string type, string message) =>
        new(element, new XAttribute("message", Clean(message)), new XAttribute("type", Clean(type)), Clean(message));

    private static XElement Property(string name, string value) => new("property", new XAttribute("name", name), new XAttribute("value", Clean(value)));

    private static string Log(DrillRecord record)
    {
        var text = new StringBuilder();
        foreach (var probe in record.Probes)
        {
            text.Append(CultureInfo.InvariantCulture, $"probe {probe.Probe} ({probe.Kind}, {probe.Service}): {probe.Failed} of {probe.Attempts} failed, ")
                .Append(CultureInfo.InvariantCulture, $"longest pause {probe.LongestPauseMs:0.0} ms, {probe.ConnectionsDropped} connections dropped, ")
                .Append(CultureInfo.InvariantCulture, $"{probe.BytesLost} bytes lost\n");
        }

        foreach (var happened in record.Events)
        {
            text.Append(CultureInfo.InvariantCulture, $"{happened.At.UtcDateTime:HH:mm:ss.fff} {happened.Gateway} {happened.Kind} {happened.Text}\n");
        }

        return text.ToString();
    }

    private static string Seconds(TimeSpan span) => span.TotalSeconds.ToString("0.000", CultureInfo.InvariantCulture);

    /// <summary>XML cannot carry most control characters, nor halves of pairs, however they are written.</summary>
    private static string Clean(string text)
    {
        var clean = new StringBuilder();
        foreach (var rune in text.EnumerateRunes())
        {
            clean.Append(IsXml(rune) ? rune.ToString() : "�");
        }

        return clean.ToString();
    }

    private static bool IsXml(Rune rune) => rune.Value is '\t' or '\n' or '\r' or (>= 0x20 and not 0xFFFE and not 0xFFFF);
}
