using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fabric.Topology.Asked;

namespace Fabric.Topology;

/// <summary>The JSON Schema (draft-07) of a topology file, for editors. Generated from the declaration that files are read by;
/// <c>topologies/fabric.schema.json</c> is its output, held in step by a test.</summary>
public static class JsonSchemaGenerator
{
    private static readonly JsonSerializerOptions Indented = new()
    {
        WriteIndented = true,
        NewLine = "\n",
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>The schema, indented by two spaces, with a line feed at the end.</summary>
    public static string Generate() => Generate(AskedShapes.File, "Fabric topology");

    internal static string Generate<T>(MapShape<T> file, string title) where T : new()
    {
        var definitions = new JsonObject();
        JsonObject root = file.Object(definitions);
        var schema = new JsonObject
        {
            ["$schema"] = "http://json-schema.org/draft-07/schema#",
            ["title"] = title,
        };
        foreach ((string key, JsonNode? value) in root.ToList())
        {
            root.Remove(key);
            schema[key] = value;
        }

        schema["definitions"] = definitions;
        return schema.ToJsonString(Indented) + "\n";
    }
}
