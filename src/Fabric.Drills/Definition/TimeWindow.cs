using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Fabric.Topology.Asked;

namespace Fabric.Drills.Definition;

/// <summary>
/// When a drill may run, in the time of a place: <c>mon-fri 09:00-16:00 Europe/Paris</c>, <c>sat,sun 00:00-24:00 UTC</c>,
/// <c>22:00-04:00 America/New_York</c> (every day, past midnight; days are those on which it opens).
/// </summary>
public sealed class TimeWindow
{
    private static readonly string[] DayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

    private readonly bool[] _days;
    private readonly TimeSpan _from;
    private readonly TimeSpan _length;
    private readonly TimeZoneInfo _zone;
    private readonly string _text;

    private TimeWindow(string text, bool[] days, TimeSpan from, TimeSpan length, TimeZoneInfo zone) =>
        (_text, _days, _from, _length, _zone) = (text, days, from, length, zone);

    /// <summary>Zones are those of the IANA database, and UTC.</summary>
    /// <param name="problem">Continues a sentence that begins with the text.</param>
    public static bool TryParse(string text, [NotNullWhen(true)] out TimeWindow? window, out string problem, out string? hint)
    {
        const string Rule = "is not a window: days, from-to and a time zone, such as mon-fri 09:00-16:00 Europe/Paris";
        (window, problem, hint) = (null, Rule, null);
        var words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length is not (2 or 3))
        {
            hint = words is [var only] && only.Contains(':') ? "name the time zone, such as UTC" : null;
            return false;
        }

        var days = Enumerable.Repeat(words.Length == 2, 7).ToArray();
        if (words.Length == 3 && !TryDays(words[0], days))
        {
            hint = "days are mon, tue, wed, thu, fri, sat, sun, as mon-fri or sat,sun";
            return false;
        }

        if (words[^2].Split('-') is not [var first, var last] || Time(first) is not { } from || Time(last) is not { } to
            || from == TimeSpan.FromDays(1) || from == to)
        {
            hint = "from-to is 09:00-16:00, up to 24:00; from a later to an earlier time it goes on past midnight";
            return false;
        }

        if (!TimeZoneInfo.TryFindSystemTimeZoneById(words[^1], out var zone))
        {
            problem = $"names no time zone: {Words.Quote(words[^1])} is not in the IANA database";
            hint = "such as UTC or Europe/Paris";
            return false;
        }

        window = new TimeWindow(text, days, from, to > from ? to - from : to - from + TimeSpan.FromDays(1), zone);
        return true;
    }

    /// <summary>For how long it is still open; null while it is closed.</summary>
    public TimeSpan? OpenFor(DateTimeOffset now)
    {
        var local = TimeZoneInfo.ConvertTime(now, _zone).DateTime;

        // It may have opened yesterday.
        for (var day = local.Date; day >= local.Date.AddDays(-1); day = day.AddDays(-1))
        {
            if (_days[(int)day.DayOfWeek] && Instant(day + _from) is var opens && Instant(day + _from + _length) is var closes
                && now >= opens && now < closes)
            {
                return closes - now;
            }
        }

        return null;
    }

    public override string ToString() => _text;

    /// <summary>A local time that a clock skips in spring stands for the one an hour later.</summary>
    private DateTimeOffset Instant(DateTime local)
    {
        local = DateTime.SpecifyKind(_zone.IsInvalidTime(local) ? local.AddHours(1) : local, DateTimeKind.Unspecified);
        return new DateTimeOffset(local, _zone.GetUtcOffset(local));
    }

    private static bool TryDays(string text, bool[] days)
    {
        foreach (var part in text.ToLowerInvariant().Split(','))
        {
            int[] ends = [.. part.Split('-').Select(d => Array.IndexOf(DayNames, d))];
            if (ends.Length is not (1 or 2) || ends.Contains(-1))
            {
                return false;
            }

            for (var day = ends[0]; ; day = (day + 1) % 7)
            {
                days[day] = true;
                if (day == ends[^1])
                {
                    break;
                }
            }
        }

        return true;
    }

    private static TimeSpan? Time(string text) => text == "24:00" ? TimeSpan.FromDays(1)
        : TimeOnly.TryParseExact(text, "HH:mm", CultureInfo.InvariantCulture, DateTimeStyles.None, out var time) ? time.ToTimeSpan() : null;
}
