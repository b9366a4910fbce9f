using System.Text.Json.Nodes;
using Fabric.Topology.Yaml;

namespace Fabric.Topology.Asked;

/// <summary>A map with known keys, each declared once: key, shape, description, default, and where the value goes.</summary>
internal sealed class MapShape<T>(string name, string description) : Shape<T> where T : new()
{
    private readonly List<Field> fields = [];

    public MapShape<T> With<TValue>(
        string key, Shape<TValue> shape, Action<T, Located<TValue>> set, string description, bool required = false,
        string? @default = null)
    {
        fields.Add(new Field(
            key, required,
            (target, node, reading) =>
            {
                if (shape.TryRead(node, key, reading, out TValue value))
                {
                    set(target, new Located<TValue>(value, node.At));
                }
            },
            definitions => Describe(shape.Schema(definitions), description, @default)));
        return this;
    }

    public override bool TryRead(Node node, string what, Reading reading, out T value)
    {
        value = new T();
        if (node is not MapNode map)
        {
            WrongKind(node, what, $"a map ({string.Join(", ", fields.Select(f => f.Key).Take(4))}, …)", reading);
            return false;
        }

        var given = new HashSet<string>(StringComparer.Ordinal);
        foreach ((ScalarNode key, Node item) in map.Entries)
        {
            given.Add(key.Text);
            Field? field = fields.Find(f => f.Key == key.Text);
            if (field is not null)
            {
                field.Read(value, item, reading);
            }
            else if (!reading.Diagnostics.IsFull)
            {
                reading.Diagnostics.Error(DiagnosticCodes.UnknownKey, key.At, $"{name} has no key {Words.Quote(key.Text)}",
                    key.Text == "<<" ? "merge keys are not part of YAML 1.2: write the keys out"
                    : Words.DidYouMean(key.Text, fields.Select(f => f.Key)));
            }
        }

        foreach (Field missing in fields.Where(f => f.Required && !given.Contains(f.Key)))
        {
            reading.Diagnostics.Error(DiagnosticCodes.MissingKey, map.At, $"{name} needs the key {Words.Quote(missing.Key)}");
        }

        return true;
    }

    public override JsonObject Schema(JsonObject definitions)
    {
        if (!definitions.ContainsKey(name))
        {
            definitions[name] = true; // holds its place while the fields are described
            definitions[name] = Object(definitions);
        }

        return new JsonObject { ["$ref"] = $"#/definitions/{name}" };
    }

    /// <summary>The map itself, not a reference to it: the root of the schema.</summary>
    public JsonObject Object(JsonObject definitions)
    {
        var properties = new JsonObject();
        foreach (Field field in fields)
        {
            properties[field.Key] = field.Schema(definitions);
        }

        var schema = new JsonObject
        {
            ["type"] = "object",
            ["description"] = description,
            ["additionalProperties"] = false,
            ["properties"] = properties,
        };
        var required = new JsonArray([.. fields.Where(f => f.Required).Select(f => (JsonNode)f.Key)]);
        if (required.Count > 0)
        {
            schema["required"] = required;
        }

        return schema;
    }

    private static JsonObject Describe(JsonObject schema, string description, string? @default)
    {
        // Draft-07 ignores what stands beside a $ref.
        JsonObject described = schema.ContainsKey("$ref") ? new JsonObject { ["allOf"] = new JsonArray(schema) } : schema;
        described["description"] = @default is null ? description : $"{description} Default: {@default}.";
        return described;
    }

    private sealed record Field(
        string Key, bool Required, Action<T, Node, Reading> Read, Func<JsonObject, JsonObject> Schema);
}
