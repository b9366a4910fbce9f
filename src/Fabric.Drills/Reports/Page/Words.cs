using System.Globalization;
using Fabric.Drills.Definition;

namespace Fabric.Drills.Reports.Page;

/// <summary>Figures and instants as people read them.</summary>
internal static class Words
{
    public static string Ms(double? ms) => Plain(ms).Replace('-', '−');

    /// <summary>So much later; what is no number, or beyond a year, is no later at all.</summary>
    public static DateTimeOffset Later(DateTimeOffset at, double ms) => ms is > 0 and < 3.2e10 ? at.AddMilliseconds(ms) : at;

    private static string Plain(double? ms) => ms switch
    {
        null => "–",
        { } v when !double.IsFinite(v) => v.ToString(CultureInfo.InvariantCulture),
        >= 100_000 or <= -100_000 => Text($"{ms / 1000:N0} s"),
        >= 10_000 or <= -10_000 => Text($"{ms / 1000:0.0} s"),
        >= 100 or <= -100 => Text($"{ms:N0} ms"),
        >= 10 or <= -10 or 0 => Text($"{ms:0.#} ms"),
        _ => Text($"{ms:0.##} ms"),
    };

    public static string Count(long count) => count.ToString("N0", CultureInfo.InvariantCulture);

    public static string Bytes(long bytes) => bytes switch
    {
        >= 1L << 30 => Text($"{bytes / (double)(1L << 30):0.0} GiB"),
        >= 1L << 20 => Text($"{bytes / (double)(1L << 20):0.0} MiB"),
        >= 1L << 10 => Text($"{bytes / (double)(1L << 10):0.0} KiB"),
        _ => Text($"{bytes} B"),
    };

    public static string Span(TimeSpan span) => span.TotalSeconds switch
    {
        >= 3600 => Text($"{(int)span.TotalHours} h {span.Minutes} min"),
        >= 60 => span.Seconds == 0 ? Text($"{span.Minutes} min") : Text($"{span.Minutes} min {span.Seconds} s"),
        >= 1 => Text($"{span.TotalSeconds:0.#} s"),
        _ => Ms(span.TotalMilliseconds),
    };

    public static string Clock(DateTimeOffset at) => at.UtcDateTime.ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture);

    public static string Day(DateTimeOffset at) => at.UtcDateTime.ToString("d MMMM yyyy, HH:mm:ss", CultureInfo.InvariantCulture) + " UTC";

    /// <summary>From the beginning of the run: "+12.304 s".</summary>
    public static string After(DateTimeOffset at, DateTimeOffset began) => Text($"{(at - began).TotalSeconds:+0.000;−0.000} s");

    /// <summary>What a fault does, in a few words: "link-down dx → virginia-1".</summary>
    public static string Fault(DrillAction action)
    {
        var what = new List<string> { action.Kind };
        what.AddRange(new[] { action.Link, action.Peer.Length > 0 ? "→ " + action.Peer : "", action.Service, action.Site }.Where(t => t.Length > 0));
        if (action.Direction is not ("both" or ""))
        {
            what.Add(action.Direction);
        }

        AddIf(action.DelayMs > 0, $"{action.DelayMs} ms");
        AddIf(action.JitterMs > 0, $"± {action.JitterMs} ms");
        AddIf(action.LossPercent > 0, $"{action.LossPercent:0.##} %");
        AddIf(action.BitsPerSecond > 0, $"{action.BitsPerSecond / 1e6:0.###} Mbit/s");
        AddIf(action.DownMs > 0, $"{action.DownMs} ms down, {action.UpMs} ms up");
        return string.Join(' ', what);

        void AddIf(bool has, FormattableString text)
        {
            if (has)
            {
                what.Add(Text(text));
            }
        }
    }

    /// <summary>At most so many characters, the last one an ellipsis where some are left out.</summary>
    public static string Short(string text, int length) => text.Length <= length ? text
        : string.Concat(text.AsSpan(0, char.IsHighSurrogate(text[length - 2]) ? length - 2 : length - 1), "…");

    public static string Outcome(DrillOutcome outcome) => outcome switch
    {
        DrillOutcome.Passed => "passed",
        DrillOutcome.Failed => "failed",
        DrillOutcome.Refused => "refused",
        DrillOutcome.Aborted => "aborted",
        _ => "not reverted",
    };

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
