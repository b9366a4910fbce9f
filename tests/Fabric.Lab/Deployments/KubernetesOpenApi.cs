using Google.Protobuf;

namespace Fabric.Lab.Deployments;

/// <summary>
/// The description of an API (OpenAPI v2 in its protobuf form, gnostic's openapiv2.proto), as far as a kubectl before 1.26 wants it: which kinds
/// can be patched with dryRun. Newer ones do not ask.
/// </summary>
internal static class KubernetesOpenApi
{
    /// <summary>The document that says it of each kind.</summary>
    public static byte[] Document(IEnumerable<(string Group, string Kind)> kinds) => Message(document =>
    {
        Text(document, 1, "2.0");
        Nested(document, 8, paths =>
        {
            foreach (var (group, kind) in kinds)
            {
                // NamedPathItem: name, PathItem with patch (8).
                Nested(paths, 2, path =>
                {
                    Text(path, 1, $"/{group}/{kind}");
                    Nested(path, 2, item => Nested(item, 8, patch => Patch(patch, group, kind)));
                });
            }
        });
    });

    private static void Patch(CodedOutputStream patch, string group, string kind)
    {
        // ParametersItem, Parameter, NonBodyParameter, QueryParameterSubSchema: its name.
        Nested(patch, 8, item => Nested(item, 1, parameter => Nested(parameter, 2, other => Nested(other, 3, query =>
        {
            Text(query, 2, "query");
            Text(query, 4, "dryRun");
        }))));
        // NamedAny, Any: its YAML.
        var parts = group.Split('/');
        Nested(patch, 13, extension =>
        {
            Text(extension, 1, "x-kubernetes-group-version-kind");
            Nested(extension, 2, any => Text(any, 2, $"group: \"{(parts.Length > 1 ? parts[0] : "")}\"\nversion: {parts[^1]}\nkind: {kind}\n"));
        });
    }

    private static void Text(CodedOutputStream into, int field, string value)
    {
        into.WriteTag(field, WireFormat.WireType.LengthDelimited);
        into.WriteString(value);
    }

    private static void Nested(CodedOutputStream into, int field, Action<CodedOutputStream> write)
    {
        into.WriteTag(field, WireFormat.WireType.LengthDelimited);
        into.WriteBytes(ByteString.CopyFrom(Message(write)));
    }

    private static byte[] Message(Action<CodedOutputStream> write)
    {
        using var memory = new MemoryStream();
        using (var output = new CodedOutputStream(memory, leaveOpen: true))
        {
            write(output);
        }

        return memory.ToArray();
    }
}
