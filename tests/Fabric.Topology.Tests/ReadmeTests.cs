using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Fabric.Topology.Tests;

/// <summary>topologies/README.md: its examples load, its tables are those of the code.</summary>
public class ReadmeTests
{
    private static readonly string ReadmePath = Path.Combine(Golden.Topologies, "README.md");

    [Fact]
    public void Its_examples_load_without_a_finding()
    {
        string[] blocks = [.. File.ReadAllText(ReadmePath).Split("```yaml\n").Skip(1).Select(b => b.Split("```")[0])];

        Assert.NotEmpty(blocks);
        Assert.All(blocks, block => Samples.Accept(block));
    }

    [Fact]
    public void Its_reference_is_that_of_the_declaration() => CheckBlock("reference", Reference());

    [Fact]
    public void Its_codes_are_those_of_the_code() => CheckBlock("codes", "| code | rule |\n|---|---|\n"
        + string.Concat(DiagnosticCodes.All.Select(c => $"| {c.Code} | {c.Rule} |\n")));

    [Fact]
    public void It_links_to_every_worked_example()
    {
        string readme = File.ReadAllText(ReadmePath);
        Assert.All(Directory.GetFiles(Golden.Topologies, "*.yaml").Select(p => Path.GetFileName(p)),
            name => Assert.Contains($"[{name}]({name})", readme));
    }

    private static void CheckBlock(string name, string expected)
    {
        string readme = File.ReadAllText(ReadmePath);
        int start = readme.IndexOf('\n', readme.IndexOf($"<!-- {name}:", StringComparison.Ordinal)) + 1;
        int end = readme.IndexOf("<!-- end -->", start, StringComparison.Ordinal);
        Golden.Check(ReadmePath, readme[..start] + "\n" + expected + "\n" + readme[end..]);
    }

    private static string Reference()
    {
        var schema = JsonNode.Parse(JsonSchemaGenerator.Generate())!;
        var text = new StringBuilder();
        text.Append(Table("topology", schema));
        foreach ((string name, JsonNode? definition) in schema["definitions"]!.AsObject())
        {
            text.Append('\n').Append(Table(name, definition!));
        }

        return text.ToString();
    }

    private static string Table(string name, JsonNode definition)
    {
        var text = new StringBuilder($"### {name}\n\n{definition["description"]}\n\n| key | value | |\n|---|---|---|\n");
        string[] required = [.. definition["required"]?.AsArray().Select(r => r!.GetValue<string>()) ?? []];
        foreach ((string key, JsonNode? value) in definition["properties"]!.AsObject())
        {
            string mark = required.Contains(key) ? " (required)" : "";
            text.Append($"| `{key}`{mark} | {Kind(value!)} | {value!["description"]} |\n");
        }

        return text.ToString();
    }

    private static string Kind(JsonNode schema) =>
        schema["allOf"] is { } all ? Kind(all[0]!)
        : schema["anyOf"] is { } any ? string.Join(" or ", any.AsArray().Select(a => Kind(a!)))
        : schema["$ref"] is { } reference ? $"[{Last(reference)}](#{Last(reference)})"
        : schema["items"] is { } items ? "list of " + Kind(items)
        : schema["enum"] is { } words ? string.Join(", ",
            words.AsArray().Where(w => w!.GetValueKind() == JsonValueKind.String).Select(w => $"`{w}`"))
        : schema["const"] is { } only ? $"`{only}`"
        : schema["type"]?.ToString() == "boolean" ? "`true`, `false`"
        : schema["minimum"] is { } minimum ? $"{minimum} to {schema["maximum"]}"
        : "text";

    private static string Last(JsonNode reference) => reference.GetValue<string>().Split('/')[^1];
}
