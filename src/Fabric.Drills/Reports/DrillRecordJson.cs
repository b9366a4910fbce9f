using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace Fabric.Drills.Reports;

/// <summary>
/// The canonical report: <c>"report": 1</c>, then the record's members in their order, names in camelCase. Instants are ISO 8601 in UTC,
/// spans are written as in drill files ("1500ms", "3s"), figures with a name in Ms are milliseconds. The same record gives the same bytes.
/// </summary>
public static class DrillRecordJson
{
    /// <summary>Of the form: changes when a reader of an older one would misread it. New members do not change it.</summary>
    public const int Version = 1;

    /// <summary>Longest text that is read: 64 MiB, several times a drill of two hours with 16 probes.</summary>
    public const int MaxLength = 64 << 20;

    private const string VersionName = "report";

    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        // It goes to a file and not into a page.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        // A measurement that is no number must not cost the report.
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase), new SpanConverter(), new InstantConverter() },
    };

    public static string Write(DrillRecord record)
    {
        var members = JsonSerializer.SerializeToNode(record, Options)!.AsObject();
        members.Insert(0, VersionName, JsonValue.Create(Version));
        return members.ToJsonString(Options) + "\n";
    }

    /// <summary>Throws <see cref="DrillReportException"/> with file, line and column for text that is no report, or one of a later version.</summary>
    /// <param name="file">Named in errors.</param>
    public static DrillRecord Read(string text, string file)
    {
        if (text.Length > MaxLength)
        {
            throw new DrillReportException($"{file}: {text.Length} characters; a report has at most {MaxLength}");
        }

        try
        {
            using (var document = JsonDocument.Parse(text))
            {
                CheckVersion(document.RootElement, file);
            }

            return JsonSerializer.Deserialize<DrillRecord>(text, Options)
                ?? throw new DrillReportException($"{file}: a report is an object, not null");
        }
        catch (JsonException e)
        {
            var place = e.LineNumber is { } line ? $":{line + 1}:{e.BytePositionInLine + 1}" : "";
            // The message repeats path and place in its own way.
            var what = e.Message.Split(" Path: ")[0].Split(" LineNumber: ")[0];
            var path = string.IsNullOrEmpty(e.Path) || e.Path == "$" ? "" : $" (at {e.Path})";
            throw new DrillReportException($"{file}{place}: {what}{path}", e);
        }
    }

    private static void CheckVersion(JsonElement root, string file)
    {
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty(VersionName, out var version))
        {
            throw new DrillReportException($"{file}: no \"{VersionName}\": this is no report of a drill; give a report.json that fabric drill run wrote");
        }

        if (version.ValueKind != JsonValueKind.Number || !version.TryGetInt32(out var number) || number != Version)
        {
            throw new DrillReportException($"{file}: \"{VersionName}\" is {version.GetRawText()}, and this program reads {Version}; read it with the program that wrote it");
        }
    }

    private sealed class SpanConverter : JsonConverter<TimeSpan>
    {
        private static readonly (string Unit, double Ms)[] Units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

        public override TimeSpan Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options)
        {
            var text = reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new JsonException("A span is a text such as \"1500ms\" or \"3s\".");
            foreach (var (unit, ms) in Units)
            {
                if (text.EndsWith(unit, StringComparison.Ordinal)
                    && double.TryParse(text.AsSpan(0, text.Length - unit.Length), NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign,
                        CultureInfo.InvariantCulture, out var number)
                    && Math.Abs(number * ms) < 1e12)
                {
                    return TimeSpan.FromMilliseconds(number * ms);
                }
            }

            throw new JsonException($"'{text}' is no span: write it like \"1500ms\" or \"3s\".");
        }

        public override void Write(Utf8JsonWriter writer, TimeSpan value, JsonSerializerOptions options) => writer.WriteStringValue(
            value.Ticks % TimeSpan.TicksPerSecond == 0
                ? string.Create(CultureInfo.InvariantCulture, $"{value.Ticks / TimeSpan.TicksPerSecond}s")
                : string.Create(CultureInfo.InvariantCulture, $"{value.TotalMilliseconds:0.####}ms"));
    }

    /// <summary>Always with seven digits: the same length everywhere, and no offset but UTC's.</summary>
    private sealed class InstantConverter : JsonConverter<DateTimeOffset>
    {
        private const string Format = "yyyy-MM-ddTHH:mm:ss.fffffffZ";

        public override DateTimeOffset Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options) =>
            reader.TokenType == JsonTokenType.String && DateTimeOffset.TryParse(reader.GetString(), CultureInfo.InvariantCulture,
                DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var instant)
            && instant.Year is >= 1970 and < 3000
                ? instant : throw new JsonException("An instant is a text such as \"2026-01-31T12:00:00Z\".");

        public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options) =>
            writer.WriteStringValue(value.UtcDateTime.ToString(Format, CultureInfo.InvariantCulture));
    }
}

/// <summary>A file is no report that can be read; the message says where and why.</summary>
public sealed class DrillReportException(string message, Exception? inner = null) : Exception(message, inner);
