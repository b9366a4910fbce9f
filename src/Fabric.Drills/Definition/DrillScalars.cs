using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Fabric.Topology;
using Fabric.Topology.Asked;

namespace Fabric.Drills.Definition;

/// <summary>The texts of a drill's file that topologies do not have.</summary>
internal static partial class DrillScalars
{
    /// <summary>Leaves room for the instant and the number that make it the id of a fault, of at most 64.</summary>
    public const int MaxName = 40;

    private const string NamePattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$";
    private const string ServicePattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    private const string SizePattern = "^[0-9]{1,9}(KiB|MiB|GiB)$";
    private const string PercentPattern = "^[0-9]{1,3}(\\.[0-9]{1,6})?$";

    public static ScalarShape<string> Name { get; } = new(DiagnosticCodes.BadName, Pattern(NamePattern), text =>
        NameRegex().IsMatch(text) ? Ok(text)
        : new Parsed<string>(true, text, $"is not a name: a-z, 0-9 and '-', at most {MaxName} characters, a letter or digit at both ends",
            NameRegex().IsMatch(text.ToLowerInvariant()) ? $"did you mean {Words.Quote(text.ToLowerInvariant())}?" : null));

    /// <summary>For people: who answers for it, and why it is done.</summary>
    public static ScalarShape<string> Text { get; } = new(
        DrillCodes.BadText, new JsonObject { ["type"] = "string", ["pattern"] = "\\S" }, text =>
        text.Trim() is { Length: > 0 and <= 500 } trimmed && !trimmed.Any(char.IsControl) ? Ok(trimmed)
        : Bad<string>("is not a text of 1 to 500 characters in one line", "say it in one sentence"));

    public static ScalarShape<string> Path { get; } = new(
        DrillCodes.BadText, new JsonObject { ["type"] = "string", ["pattern"] = "\\S" }, text =>
        text is { Length: > 0 and <= 500 } && !text.Any(char.IsControl) ? Ok(text) : Bad<string>("is not the path of a topology"));

    public static ScalarShape<string> Service { get; } = new(DiagnosticCodes.BadPolicyService, Pattern(ServicePattern), text =>
        ServiceRegex().IsMatch(text) ? Ok(text)
        : Bad<string>("is not a service: name.namespace", text.Count(c => c == '.') > 1 ? "leave out the domain"
            : text.Contains('*') ? "drills name each service" : null));

    public static ScalarShape<double> Percent { get; } = new(
        DrillCodes.BadPercent, new JsonObject { ["type"] = "number", ["minimum"] = 0, ["maximum"] = 100 }, text =>
        PercentRegex().IsMatch(text) && double.Parse(text, CultureInfo.InvariantCulture) is >= 0 and <= 100 and var number ? Ok(number)
        : Bad<double>("is not a percentage: a number from 0 to 100", text.EndsWith('%') ? "leave out the %" : null));

    /// <summary>1 KiB to 16 GiB.</summary>
    public static ScalarShape<long> Size { get; } = new(DrillCodes.BadSize, Pattern(SizePattern), text =>
    {
        const string Problem = "is not a size: a whole number with KiB, MiB or GiB, from 1KiB to 16GiB";
        if (!SizeRegex().IsMatch(text))
        {
            return Bad<long>(Problem);
        }

        var bytes = long.Parse(text.AsSpan(0, text.Length - 3), CultureInfo.InvariantCulture)
            << (text[^3] switch { 'K' => 10, 'M' => 20, _ => 30 });
        return bytes is >= 1024 and <= 16L << 30 ? Ok(bytes) : Bad<long>(Problem);
    });

    public static ScalarShape<string> Window { get; } = new(
        DrillCodes.BadWindow, new JsonObject { ["type"] = "string", ["pattern"] = "[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2} \\S+$" }, text =>
        TimeWindow.TryParse(text, out _, out var problem, out var hint) ? Ok(text) : Bad<string>(problem, hint));

    public static ScalarShape<string> Word(params string[] words) => Scalars.Choice([.. words.Select(w => (w, w))]);

    private static Parsed<T> Ok<T>(T value) => new(true, value);

    private static Parsed<T> Bad<T>(string problem, string? hint = null) => new(false, default!, problem, hint);

    private static JsonObject Pattern(string pattern) => new() { ["type"] = "string", ["pattern"] = pattern };

    [GeneratedRegex(NamePattern + "(?<!\n)\\z")]
    private static partial Regex NameRegex();

    [GeneratedRegex(ServicePattern + "(?<!\n)\\z")]
    private static partial Regex ServiceRegex();

    [GeneratedRegex(SizePattern + "(?<!\n)\\z")]
    private static partial Regex SizeRegex();

    [GeneratedRegex(PercentPattern + "(?<!\n)\\z")]
    private static partial Regex PercentRegex();
}
