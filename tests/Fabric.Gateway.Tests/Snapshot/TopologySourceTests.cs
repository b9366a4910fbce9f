using Fabric.Gateway.Snapshot;
using Fabric.Topology;

namespace Fabric.Gateway.Tests.Snapshot;

public sealed class TopologySourceTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private TopologySource Source => new(_folder["topology"], _folder["state", "topology"]);

    public TopologySourceTests() => Directory.CreateDirectory(_folder["state"]);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Folder_is_read_in_ordinal_order_of_names_and_only_yaml_of_it()
    {
        foreach (var name in new[] { "b.yaml", "a.yml", "B.yaml", "10.yaml", "9.yaml", ".hidden.yaml", "readme.md", "a.yaml~" })
        {
            _folder.Write($"topology/{name}", name);
        }

        _folder.Write("topology/sub/c.yaml", "c");
        Assert.Equal(["10.yaml", "9.yaml", "B.yaml", "a.yml", "b.yaml"], Source.Read().Select(f => f.Text));
    }

    [Fact]
    public void Single_file_may_have_any_name()
    {
        _folder.Write("topology", "text");

        var file = Assert.Single(Source.Read());
        Assert.Equal((_folder["topology"], "text"), (file.Path, file.Text));
    }

    [Fact]
    public void Nothing_to_read_is_an_error_that_says_what_is_expected()
    {
        Assert.Contains("expected a YAML file, or a folder with *.yaml in it", Assert.Throws<IOException>(Source.Read).Message, StringComparison.Ordinal);
        Directory.CreateDirectory(_folder["topology"]);
        Assert.Contains(_folder["topology"], Assert.Throws<IOException>(Source.Read).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Too_many_files_or_too_long_ones_are_refused_before_they_are_read()
    {
        for (var i = 0; i <= TopologyLoader.MaxFiles; i++)
        {
            _folder.Write($"topology/{i}.yaml", "");
        }

        Assert.Contains("more than 1000 YAML files", Assert.Throws<IOException>(Source.Read).Message, StringComparison.Ordinal);
        Directory.Delete(_folder["topology"], recursive: true);
        using (var file = File.Create(_folder["topology"]))
        {
            file.SetLength(TopologyLoader.MaxLength + 1L);
        }

        Assert.Contains($"has {TopologyLoader.MaxLength + 1} bytes", Assert.Throws<IOException>(Source.Read).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Fingerprint_is_of_names_and_texts_and_not_of_where_and_when()
    {
        var source = Source;
        string Print(string name, string text)
        {
            _folder.Write($"topology/{name}", text);
            source.Read();
            File.Delete(_folder["topology", name]);
            return source.Fingerprint;
        }

        var one = Print("a.yaml", "text");
        Assert.Equal(one, Print("a.yaml", "text"));
        Assert.NotEqual(one, Print("b.yaml", "text"));
        Assert.NotEqual(one, Print("a.yaml", "other"));
        Assert.Equal(64, one.Length);
    }

    [Fact]
    public void Symbolic_links_swapped_as_a_config_map_does_are_a_change()
    {
        _folder.Write("v1/a.yaml", "one");
        _folder.Write("v2/a.yaml", "two");
        Directory.CreateSymbolicLink(_folder["topology"], _folder["v1"]);
        var source = Source;
        source.Read();
        var before = source.Fingerprint;

        Directory.CreateSymbolicLink(_folder["next"], _folder["v2"]);
        File.Delete(_folder["topology"]);
        Directory.Move(_folder["next"], _folder["topology"]);

        Assert.Equal("two", Assert.Single(source.Read()).Text);
        Assert.NotEqual(before, source.Fingerprint);
    }

    [Theory]
    [InlineData("topology.yaml")]
    [InlineData("topology.conf")]
    [InlineData(".topology.yaml")]
    public void What_is_kept_is_read_again_whatever_its_file_is_called(string name)
    {
        Source.Keep([new TopologyFile(_folder[name], "text")]);

        Assert.Equal("text", Assert.Single(Source.ReadLastGood()).Text);
    }

    [Fact]
    public void Next_revision_replaces_the_last_whole()
    {
        Assert.Empty(Source.ReadLastGood());
        Source.Keep([new TopologyFile("a.yaml", "1"), new TopologyFile("b.yaml", "1")]);
        Source.Keep([new TopologyFile("a.yaml", "2")]);

        Assert.Equal("2", Assert.Single(Source.ReadLastGood()).Text);
        Assert.Equal([_folder["state", "topology"]], Directory.GetDirectories(_folder["state"]));
    }

    [Fact]
    public void Killed_while_the_next_is_filled_the_last_is_there()
    {
        Source.Keep([new TopologyFile("a.yaml", "1")]);
        _folder.Write("state/topology.next/a.yaml", "half of");

        Assert.Equal("1", Assert.Single(Source.ReadLastGood()).Text);
        Source.Keep([new TopologyFile("b.yaml", "2")]);
        Assert.Equal("2", Assert.Single(Source.ReadLastGood()).Text);
    }

    [Fact]
    public void Killed_between_the_two_moves_the_predecessor_is_there()
    {
        Source.Keep([new TopologyFile("a.yaml", "1")]);
        Directory.Move(_folder["state", "topology"], _folder["state", "topology.old"]);
        _folder.Write("state/topology.next/a.yaml", "2");

        Assert.Equal("1", Assert.Single(Source.ReadLastGood()).Text);
        Source.Keep([new TopologyFile("a.yaml", "3")]);
        Assert.Equal("3", Assert.Single(Source.ReadLastGood()).Text);
        Assert.Equal([_folder["state", "topology"]], Directory.GetDirectories(_folder["state"]));
    }

    [Fact]
    public void Killed_before_the_old_one_was_removed_the_new_one_counts()
    {
        Source.Keep([new TopologyFile("a.yaml", "2")]);
        _folder.Write("state/topology.old/a.yaml", "1");

        Assert.Equal("2", Assert.Single(Source.ReadLastGood()).Text);
        Source.Keep([new TopologyFile("a.yaml", "3")]);
        Assert.Equal("3", Assert.Single(Source.ReadLastGood()).Text);
    }
}
