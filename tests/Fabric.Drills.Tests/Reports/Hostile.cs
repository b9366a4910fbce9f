using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Tests.Reports;

/// <summary>A record in which every text, wherever it came from, tries to be something else.</summary>
internal static class Hostile
{
    public const string Text = "\"'><script>document.title='owned'</script><img src=\"http://evil.example/x.png\" onerror=alert(1)></svg>&]]>\u202Eevil\u0007\ud800{{}}";

    public static DrillRecord Build()
    {
        var node = JsonNode.Parse(DrillRecordJson.Write(SampleRecord.Build()))!;
        Spoil(node);
        return DrillRecordJson.Read(node.ToJsonString(new JsonSerializerOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.Default }), "hostile");
    }

    private static void Spoil(JsonNode node)
    {
        if (node is JsonObject members)
        {
            foreach (var (name, value) in members.ToList())
            {
                if (value is JsonValue text && text.GetValueKind() == JsonValueKind.String)
                {
                    members[name] = Spoiled(name, text.GetValue<string>());
                }
                else if (value is not null)
                {
                    Spoil(value);
                }
            }
        }
        else if (node is JsonArray items)
        {
            for (var i = 0; i < items.Count; i++)
            {
                if (items[i] is JsonValue text && text.GetValueKind() == JsonValueKind.String)
                {
                    items[i] = Text + text.GetValue<string>();
                }
                else if (items[i] is { } item)
                {
                    Spoil(item);
                }
            }
        }
    }

    /// <summary>What is read as something else than text stays; the kinds of probes and events do, so that they are drawn.</summary>
    private static string Spoiled(string name, string text) =>
        name is "outcome" or "kind" || DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out _) || (text.Length < 8 && text.EndsWith('s') && char.IsDigit(text[0]))
            ? text : Text + text;
}
