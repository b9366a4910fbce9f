using Fabric.Gateway.Hosting;

namespace Fabric.Gateway.Tests.Hosting;

[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class StateFolderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Folder_is_its_owners_only_and_used_by_one()
    {
        await using (var first = new StateFolder(_folder["state"]))
        {
            Assert.Equal(
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(_folder["state"]));
            Assert.Contains($"another fabricd uses {_folder["state"]}",
                Assert.Throws<IOException>(() => new StateFolder(_folder["state"])).Message, StringComparison.Ordinal);
        }

        await using var next = new StateFolder(_folder["state"]);
    }

    [Fact]
    public async Task Json_is_read_back_and_nothing_else_is_left()
    {
        await using var state = new StateFolder(_folder["state"]);
        state.WriteJson("a.json", new Dictionary<string, string> { ["key"] = "old" });
        state.WriteJson("a.json", new Dictionary<string, string> { ["key"] = "new" });

        Assert.Equal("new", state.ReadJson<Dictionary<string, string>>("a.json", [])["key"]);
        Assert.Equal(["a.json", "lock"], Directory.GetFiles(_folder["state"]).Select(Path.GetFileName).Order());
    }

    [Fact]
    public async Task Killed_while_it_writes_the_old_value_is_there()
    {
        await using var state = new StateFolder(_folder["state"]);
        state.WriteJson("a.json", 1);
        _folder.Write("state/a.json.next", "half");

        Assert.Equal(1, state.ReadJson("a.json", 0));
        state.WriteJson("a.json", 2);
        Assert.Equal(2, state.ReadJson("a.json", 0));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("{")]
    [InlineData("\"text\"")]
    [InlineData("\0\0\0\0")]
    public async Task Missing_or_damaged_file_gives_the_fallback(string? text)
    {
        await using var state = new StateFolder(_folder["state"]);
        if (text is not null)
        {
            _folder.Write("state/a.json", text);
        }

        Assert.Equal([7], state.ReadJson<int[]>("a.json", [7]));
    }
}
