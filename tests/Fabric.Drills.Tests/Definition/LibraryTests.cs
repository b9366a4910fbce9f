using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fabric.Drills.Definition;
using Fabric.Topology;

namespace Fabric.Drills.Tests.Definition;

/// <summary>The drills of the repository, their schema, and what is documented of them.</summary>
public class LibraryTests
{
    private static readonly string ReadmePath = Path.Combine(Samples.Drills, "README.md");

    private static readonly string[] Names = [.. Directory.GetFiles(Samples.Drills, "*.yaml").Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];

    public static TheoryData<string> Files => [.. Names];

    /// <summary>Shape, names, and the drill's own guards on a fabric where all is up.</summary>
    [Theory]
    [MemberData(nameof(Files))]
    public void A_drill_is_valid_and_allowed_in_its_topology(string file)
    {
        var text = File.ReadAllText(Path.Combine(Samples.Drills, file));
        var (drill, diagnostics) = DrillLoader.Load(new TopologyFile(file, text));
        Assert.Empty(diagnostics);
        Assert.Equal(Path.GetFileNameWithoutExtension(file), drill!.Name);
        Assert.StartsWith("#", text);
        Assert.NotEmpty(drill.Probes);
        var topology = Samples.Load(Path.GetFileName(drill.Topology));
        Assert.Empty(DrillLoader.Load(new TopologyFile(file, text), topology).Diagnostics);
    }

    [Fact]
    public void Every_sample_topology_has_drills()
    {
        var drilled = Names.Select(f => DrillLoader.Load(new TopologyFile("t", File.ReadAllText(Path.Combine(Samples.Drills, f)))).Drill!.Topology);
        Assert.Equal(Directory.GetFiles(Samples.Topologies, "*.yaml").Select(f => "../" + Path.GetFileName(f)).Order(), drilled.Distinct().Order());
    }

    [Fact]
    public void The_committed_schema_is_the_generated_one() => Samples.Golden(Path.Combine(Samples.Drills, "drill.schema.json"), DrillLoader.Schema());

    /// <summary>Required keys, unknown keys and words: what an editor shows first. The rest is made by what the schema of topologies is, and tested there.</summary>
    [Fact]
    public void The_schema_says_what_the_reader_says()
    {
        var schema = JsonNode.Parse(DrillLoader.Schema())!;
        Assert.Equal(["drill", "name", "owner", "reason", "actions"], schema["required"]!.AsArray().Select(r => r!.GetValue<string>()));
        Assert.False(schema["additionalProperties"]!.GetValue<bool>());
        Assert.Equal(DrillShapes.Kinds.Keys, schema["definitions"]!["action"]!["properties"]!["kind"]!["enum"]!.AsArray().Select(k => k!.GetValue<string>()));
    }

    [Fact]
    public void The_readme_names_every_drill() =>
        Assert.All(Names, f => Assert.Contains($"[{f}]({f})", File.ReadAllText(ReadmePath)));

    [Fact]
    public void The_readme_has_the_codes_of_the_code() => Block("codes", "| code | rule |\n|---|---|\n"
        + string.Concat(DrillCodes.All.Select(c => $"| {c.Code} | {c.Rule} |\n")));

    [Fact]
    public void The_readme_has_the_kinds_of_the_code() => Block("kinds", "| kind | needs | may have |\n|---|---|---|\n"
        + string.Concat(DrillShapes.Kinds.Select(k => $"| `{k.Key}` | {Keys(k.Key == "source-gone" ? ["gateway` or `site"] : k.Value.Needs)} | {Keys(k.Key == "source-gone" ? [] : k.Value.May)} |\n")));

    [Fact]
    public void The_readme_has_the_keys_of_the_code()
    {
        var schema = JsonNode.Parse(DrillLoader.Schema())!;
        var text = new StringBuilder(Table("drill", schema));
        foreach (var (name, definition) in schema["definitions"]!.AsObject())
        {
            text.Append('\n').Append(Table(name, definition!));
        }

        Block("reference", text.ToString());
    }

    [Fact]
    public void The_example_of_the_readme_is_valid()
    {
        var example = File.ReadAllText(ReadmePath).Split("```yaml\n")[1].Split("```")[0];
        Assert.Empty(DrillLoader.Load(new TopologyFile("example", example), Samples.ThreeSites).Diagnostics);
    }

    private static void Block(string name, string expected)
    {
        var readme = File.ReadAllText(ReadmePath);
        var start = readme.IndexOf('\n', readme.IndexOf($"<!-- {name}:", StringComparison.Ordinal)) + 1;
        var end = readme.IndexOf("<!-- end -->", start, StringComparison.Ordinal);
        Samples.Golden(ReadmePath, readme[..start] + "\n" + expected + "\n" + readme[end..]);
    }

    private static string Table(string name, JsonNode definition)
    {
        string[] required = [.. definition["required"]?.AsArray().Select(r => r!.GetValue<string>()) ?? []];
        return $"### {name}\n\n{definition["description"]}\n\n| key | value | |\n|---|---|---|\n" + string.Concat(definition["properties"]!.AsObject().Select(p =>
            $"| `{p.Key}`{(required.Contains(p.Key) ? " (required)" : "")} | {Kind(p.Value!)} | {p.Value!["description"]} |\n"));
    }

    private static string Kind(JsonNode schema) =>
        schema["allOf"] is { } all ? Kind(all[0]!)
        : schema["$ref"] is { } reference ? $"[{Last(reference)}](#{Last(reference).ToLowerInvariant()})"
        : schema["items"] is { } items ? "list of " + Kind(items)
        : schema["enum"] is { } words ? string.Join(", ", words.AsArray().Where(w => w!.GetValueKind() == JsonValueKind.String).Select(w => $"`{w}`"))
        : schema["const"] is { } only ? $"`{only}`"
        : schema["type"]?.ToString() == "boolean" ? "`true`, `false`"
        : schema["minimum"] is { } minimum ? $"{minimum} to {schema["maximum"]}"
        : "text";

    private static string Last(JsonNode reference) => reference.GetValue<string>().Split('/')[^1];

    private static string Keys(string[] keys) => string.Join(", ", keys.Select(k => $"`{k}`"));
}
