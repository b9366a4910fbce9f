using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Fabric.Lab.Failover;

/// <summary>What a gateway wrote down of its links and paths.</summary>
/// <param name="At">As <see cref="Stopwatch.GetTimestamp"/> counts, to the millisecond of the log.</param>
/// <param name="State">up, suspect, down or unknown; empty when streams took another link, which <paramref name="Link"/> then is.</param>
public sealed record GatewayEvent(long At, string Gateway, string Link, string State, string Text)
{
    public bool IsSwitch => State.Length == 0;
}

/// <summary>The gateways' own record: the structured log of fabricd.</summary>
public static class GatewayLog
{
    private const int LinkChanged = 300;
    private const int PathChanged = 301;

    /// <summary>All events of one log, in order.</summary>
    public static IReadOnlyList<GatewayEvent> Read(string gateway, string path)
    {
        // One pair of readings joins the two clocks. A step of the wall clock would show as nonsense, not as a good figure.
        var (ticks, utc) = (Stopwatch.GetTimestamp(), DateTime.UtcNow);
        var events = new List<GatewayEvent>();
        // The writer goes on: the last line may be half of one.
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        while (reader.ReadLine() is { } line)
        {
            if (Parse(line) is not { } entry || entry.GetProperty("EventId").GetInt32() is not (LinkChanged or PathChanged) and var _)
            {
                continue;
            }

            var at = DateTime.Parse(entry.GetProperty("Timestamp").GetString()!, CultureInfo.InvariantCulture, DateTimeStyles.AdjustToUniversal);
            var state = entry.GetProperty("State");
            events.Add(new GatewayEvent(
                ticks + (long)((at - utc).TotalSeconds * Stopwatch.Frequency), gateway, state.GetProperty("Link").GetString()!,
                entry.GetProperty("EventId").GetInt32() == LinkChanged ? state.GetProperty("State").GetString()! : "",
                entry.GetProperty("Message").GetString()!));
        }

        return events;
    }

    private static JsonElement? Parse(string line)
    {
        try
        {
            return JsonDocument.Parse(line).RootElement is { ValueKind: JsonValueKind.Object } entry && entry.TryGetProperty("EventId", out _) ? entry : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
