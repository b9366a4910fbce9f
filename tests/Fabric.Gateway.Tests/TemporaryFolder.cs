namespace Fabric.Gateway.Tests;

/// <summary>A folder of one test's own, removed after it. Short, for the sockets in it.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Root { get; } = Directory.CreateTempSubdirectory("fabric-gw-").FullName;

    public string this[params string[] names] => Path.Combine([Root, .. names]);

    public string Write(string name, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(this[name])!);
        File.WriteAllText(this[name], text);
        return this[name];
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
