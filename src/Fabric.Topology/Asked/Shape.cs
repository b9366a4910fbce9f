using System.Collections.Immutable;
using System.Text.Json.Nodes;
using Fabric.Topology.Yaml;

namespace Fabric.Topology.Asked;

/// <summary>A value and where it was written.</summary>
internal readonly record struct Located<T>(T Value, Mark At);

/// <summary>What one reading collects: findings, and how many objects were read so far.</summary>
internal sealed class Reading(DiagnosticBag diagnostics)
{
    /// <summary>Sites, gateways, links, services, endpoints, workloads, policies and the rest, over all files.</summary>
    public const int MaxObjects = 10_000;

    private int objects;

    public DiagnosticBag Diagnostics => diagnostics;

    /// <summary>False, with one error, from the object on that is one too many.</summary>
    public bool TryCount(Mark at)
    {
        objects++;
        if (objects == MaxObjects + 1)
        {
            diagnostics.Error(DiagnosticCodes.LimitExceeded, at, $"the topology has more than {MaxObjects} objects");
        }

        return objects <= MaxObjects;
    }
}

/// <summary>
/// What a place in the file may hold: how it is read, and how the JSON Schema says the same. Both come from the one declaration
/// in <see cref="AskedShapes"/>.
/// </summary>
internal abstract class Shape<T>
{
    /// <summary>Reports what is wrong. True when the value is usable, even if an error was reported.</summary>
    public abstract bool TryRead(Node node, string what, Reading reading, out T value);

    /// <summary>The schema to put in place; maps are added to the definitions and referred to.</summary>
    public abstract JsonObject Schema(JsonObject definitions);

    protected static void WrongKind(Node node, string what, string wanted, Reading reading, string? hint = null) =>
        reading.Diagnostics.Error(DiagnosticCodes.WrongKind, node.At,
            $"{what}: {wanted} is expected here, not {node.Kind}", hint);
}

/// <summary>Outcome of parsing one text: a value, or a problem (with a value when later checks can go on with it).</summary>
internal readonly record struct Parsed<T>(bool Usable, T Value, string? Problem = null, string? Hint = null);

/// <summary>One text with a rule.</summary>
internal sealed class ScalarShape<T>(string code, JsonObject schema, Func<string, Parsed<T>> parse) : Shape<T>
{
    public Parsed<T> Parse(string text) => parse(text);

    public override bool TryRead(Node node, string what, Reading reading, out T value)
    {
        value = default!;
        if (node is not ScalarNode { Absent: false } scalar)
        {
            WrongKind(node, what, "one value", reading,
                node is ListNode { Items: [ScalarNode only] } ? $"write {only.Text} without the list" : null);
            return false;
        }

        Parsed<T> parsed = parse(scalar.Text);
        if (parsed.Problem is not null)
        {
            reading.Diagnostics.Error(code, scalar.At, $"{what}: {Words.Quote(scalar.Text)} {parsed.Problem}", parsed.Hint);
        }

        value = parsed.Value;
        return parsed.Usable;
    }

    public override JsonObject Schema(JsonObject definitions) => (JsonObject)schema.DeepClone();
}

/// <summary>A list of <paramref name="min"/> to <paramref name="max"/> of the same.</summary>
internal sealed class ListShape<T>(Shape<T> item, int min = 0, int max = Reading.MaxObjects) : Shape<ImmutableArray<Located<T>>>
{
    public override bool TryRead(Node node, string what, Reading reading, out ImmutableArray<Located<T>> value)
    {
        value = [];
        if (node is not ListNode list)
        {
            WrongKind(node, what, "a list", reading,
                node is not ScalarNode scalar ? null
                : scalar.Absent ? "write [] or leave out the key" : $"write [{scalar.Text}]");
            return false;
        }

        if (list.Items.Length < min || list.Items.Length > max)
        {
            reading.Diagnostics.Error(DiagnosticCodes.BadCount, list.At,
                $"{what}: the list has {Words.Count(list.Items.Length, "entry")}; "
                + (list.Items.Length < min ? $"it needs at least {min}" : $"it may have at most {max}"));
        }

        var items = ImmutableArray.CreateBuilder<Located<T>>();
        for (int i = 0; i < list.Items.Length && i < max; i++)
        {
            if (!reading.TryCount(list.Items[i].At))
            {
                break;
            }

            if (item.TryRead(list.Items[i], $"{what}[{i}]", reading, out T read))
            {
                items.Add(new Located<T>(read, list.Items[i].At));
            }
        }

        value = items.ToImmutable();
        return true;
    }

    public override JsonObject Schema(JsonObject definitions)
    {
        var schema = new JsonObject { ["type"] = "array", ["items"] = item.Schema(definitions) };
        if (min > 0)
        {
            schema["minItems"] = min;
        }

        if (max < Reading.MaxObjects)
        {
            schema["maxItems"] = max;
        }

        return schema;
    }
}

/// <summary>A short form (one text) of what can also be written as a map.</summary>
internal sealed class ShortOrLong<TShort, T>(
    Shape<TShort> shortForm, Func<Located<TShort>, T> expand, Shape<T> longForm) : Shape<T>
{
    public override bool TryRead(Node node, string what, Reading reading, out T value)
    {
        if (node is MapNode)
        {
            return longForm.TryRead(node, what, reading, out value);
        }

        bool usable = shortForm.TryRead(node, what, reading, out TShort read);
        value = usable ? expand(new Located<TShort>(read, node.At)) : default!;
        return usable;
    }

    public override JsonObject Schema(JsonObject definitions) => new()
    {
        ["anyOf"] = new JsonArray(shortForm.Schema(definitions), longForm.Schema(definitions)),
    };
}
