using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Fabric.Topology.Asked;
using Fabric.Topology.Yaml;

namespace Fabric.Topology.Tests;

/// <summary>The JSON Schema in topologies/ is that of the declaration, and judges files as the reader does.</summary>
public class SchemaTests
{
    /// <summary>What a schema can see of the rules: the shape of a file, and single values with a pattern or limits.</summary>
    private static readonly string[] Visible =
    [
        DiagnosticCodes.WrongKind, DiagnosticCodes.UnknownKey, DiagnosticCodes.FormatVersion, DiagnosticCodes.BadName,
        DiagnosticCodes.BadTrustDomain, DiagnosticCodes.BadDomain, DiagnosticCodes.BadNumber, DiagnosticCodes.BadDuration,
        DiagnosticCodes.BadCapacity, DiagnosticCodes.BadChoice, DiagnosticCodes.BadPolicyPath, DiagnosticCodes.BadPolicyService,
        DiagnosticCodes.BadWireGuardKey, DiagnosticCodes.BadHttpPath, DiagnosticCodes.BadAddress, DiagnosticCodes.BadEndpoint,
        DiagnosticCodes.BadRange, DiagnosticCodes.BadCount,
    ];

    private static readonly JsonNode Schema = JsonNode.Parse(JsonSchemaGenerator.Generate())!;

    public static TheoryData<string> Worked => ExamplesTests.Worked;

    public static TheoryData<string> Refused => [.. Directory.GetFiles(Path.Combine(Golden.Topologies, "broken"), "*.yaml")
        .Select(p => Path.GetFileName(p)).Where(n => Visible.Contains(n[..7])).Order(StringComparer.Ordinal)];

    [Fact]
    public void The_committed_schema_is_the_generated_one() =>
        Golden.Check(Path.Combine(Golden.Topologies, "fabric.schema.json"), JsonSchemaGenerator.Generate());

    [Theory]
    [MemberData(nameof(Worked))]
    public void It_accepts_a_worked_example(string file) =>
        Assert.Empty(Problems(Read(Path.Combine(Golden.Topologies, file)), Schema, "").ToList());

    [Theory]
    [MemberData(nameof(Refused))]
    public void It_refuses_what_the_reader_refuses_by_shape(string file) =>
        Assert.NotEmpty(Problems(Read(Path.Combine(Golden.Topologies, "broken", file)), Schema, "").ToList());

    private static Node Read(string path)
    {
        Node? root = NodeReader.Read(new TopologyFile("t", File.ReadAllText(path)), new DiagnosticBag());
        return root ?? throw new InvalidOperationException($"{path} is no YAML");
    }

    /// <summary>The keywords that the generator uses; any other fails the test.</summary>
    private static IEnumerable<string> Problems(Node node, JsonNode schema, string at) =>
        schema.AsObject().SelectMany(keyword => keyword.Key switch
    {
        "$schema" or "title" or "description" or "definitions" => [],
        "$ref" => Problems(node, Schema["definitions"]![keyword.Value!.GetValue<string>().Split('/')[^1]]!, at),
        "allOf" => keyword.Value!.AsArray().SelectMany(s => Problems(node, s!, at)),
        "anyOf" => keyword.Value!.AsArray().Any(s => !Problems(node, s!, at).Any()) ? [] : [$"{at}: none of anyOf"],
        "type" => IsOfType(node, keyword.Value!.GetValue<string>()) ? [] : [$"{at}: not of type {keyword.Value}"],
        "pattern" => node is ScalarNode s && !Regex.IsMatch(s.Text, keyword.Value!.GetValue<string>()) ? [$"{at}: pattern"] : [],
        "enum" => node is ScalarNode s && keyword.Value!.AsArray().All(v => v!.ToString() != s.Text) ? [$"{at}: enum"] : [],
        "const" => node is ScalarNode s && s.Text != keyword.Value!.ToString() ? [$"{at}: const"] : [],
        "minimum" => Number(node) < keyword.Value!.GetValue<int>() ? [$"{at}: minimum"] : [],
        "maximum" => Number(node) > keyword.Value!.GetValue<int>() ? [$"{at}: maximum"] : [],
        "minItems" => node is ListNode l && l.Items.Length < keyword.Value!.GetValue<int>() ? [$"{at}: minItems"] : [],
        "maxItems" => node is ListNode l && l.Items.Length > keyword.Value!.GetValue<int>() ? [$"{at}: maxItems"] : [],
        "items" => node is ListNode l ? l.Items.SelectMany((item, i) => Problems(item, keyword.Value!, $"{at}[{i}]")) : [],
        "required" => node is MapNode m
            ? keyword.Value!.AsArray().Where(k => m.Entries.All(e => e.Key.Text != k!.ToString())).Select(k => $"{at}: no {k}")
            : [],
        "additionalProperties" => node is MapNode m
            ? m.Entries.Where(e => schema["properties"]![e.Key.Text] is null).Select(e => $"{at}: {e.Key.Text} is unknown") : [],
        "properties" => node is MapNode m
            ? m.Entries.SelectMany(e => keyword.Value![e.Key.Text] is { } s ? Problems(e.Value, s, $"{at}/{e.Key.Text}") : [])
            : [],
        _ => throw new InvalidOperationException($"the keyword {keyword.Key} is not known to this test"),
    });

    private static bool IsOfType(Node node, string type) => type switch
    {
        "object" => node is MapNode,
        "array" => node is ListNode,
        "integer" => Number(node) is not null,
        "boolean" => node is ScalarNode { Text: "true" or "false" },
        "string" => node is ScalarNode { Absent: false },
        _ => throw new InvalidOperationException($"the type {type} is not known to this test"),
    };

    private static long? Number(Node node) =>
        node is ScalarNode scalar && long.TryParse(scalar.Text, out long number) ? number : null;
}
