using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Google.Protobuf;
using YamlDotNet.Core;
using YamlDotNet.Serialization;

namespace Fabric.Cli.Output;

/// <summary>Machine-readable output. Field names are stable; fields with default values are there too.</summary>
internal static class Documents
{
    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new Base64() },
    };

    private static readonly JsonSerializerOptions OneLine = new(Json) { WriteIndented = false };

    private static readonly ISerializer Yaml = new SerializerBuilder()
        .WithQuotingNecessaryStrings().WithDefaultScalarStyle(ScalarStyle.Any).DisableAliases().Build();

    /// <summary>A record, or a message of Protocol Buffers: lowerCamelCase names; bytes in base64, as in its canonical JSON; integers of any size are numbers.</summary>
    public static JsonNode Of<T>(T value) => JsonSerializer.SerializeToNode(value, Json)!;

    public static string Write(JsonNode document, string format, bool oneLine = false) => format switch
    {
        "json" => document.ToJsonString(oneLine ? OneLine : Json),
        "yaml" => Yaml.Serialize(Plain(document)!).TrimEnd('\n'),
        _ => throw new ArgumentOutOfRangeException(nameof(format)),
    };

    private static object? Plain(JsonNode? node) => node switch
    {
        JsonObject map => map.ToDictionary(e => e.Key, e => Plain(e.Value)),
        JsonArray list => list.Select(Plain).ToList(),
        JsonValue value => value.GetValueKind() switch
        {
            JsonValueKind.String => value.GetValue<string>(),
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Number => decimal.Parse(value.ToJsonString(), System.Globalization.NumberStyles.Float,
                System.Globalization.CultureInfo.InvariantCulture),
            _ => null,
        },
        _ => null,
    };

    private sealed class Base64 : JsonConverter<ByteString>
    {
        public override ByteString Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options) =>
            ByteString.CopyFrom(reader.GetBytesFromBase64());

        public override void Write(Utf8JsonWriter writer, ByteString value, JsonSerializerOptions options) => writer.WriteBase64StringValue(value.Span);
    }
}
