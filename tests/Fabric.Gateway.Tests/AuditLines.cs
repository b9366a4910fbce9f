using System.Text.Json;

namespace Fabric.Gateway.Tests;

/// <summary>Reads an audit log back: one JSON object a line, values as text.</summary>
internal static class AuditLines
{
    public static List<Dictionary<string, string>> Read(string path)
    {
        if (!File.Exists(path))
        {
            return [];
        }

        using var file = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return
        [
            .. file.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => JsonDocument.Parse(line).RootElement.EnumerateObject().ToDictionary(p => p.Name, p => p.Value.ToString())),
        ];
    }
}
