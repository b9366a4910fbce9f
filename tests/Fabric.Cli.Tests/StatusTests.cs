using System.Text.Json;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Google.Protobuf;

namespace Fabric.Cli.Tests;

public sealed class StatusTests : IDisposable
{
    private readonly string _dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;

    private string Socket => Path.Combine(_dir, "fabricd.sock");

    public void Dispose() => Directory.Delete(_dir, recursive: true);

    [Fact]
    public async Task Json_is_the_canonical_form_with_every_field()
    {
        var (code, text, _) = await Status("-o", "json");
        Assert.Equal(0, code);
        Assert.Equal(FakeGateway.Status, JsonParser.Default.Parse<Status>(text));

        using var document = JsonDocument.Parse(text);
        var fields = Protocol.Proto.Status.Descriptor.Fields.InDeclarationOrder().Select(f => f.JsonName);
        Assert.Equal(fields.Order(), document.RootElement.EnumerateObject().Select(p => p.Name).Order());
        Assert.Equal("", document.RootElement.GetProperty("topologyError").GetString());
        Assert.False(document.RootElement.GetProperty("sites")[1].GetProperty("local").GetBoolean());
    }

    [Fact]
    public async Task Yaml_holds_the_same()
    {
        var (code, text, _) = await Status("-o", "yaml");
        Assert.Equal(0, code);
        var read = new YamlDotNet.Serialization.DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build()
            .Deserialize<object>(text);
        var json = new YamlDotNet.Serialization.SerializerBuilder().JsonCompatible().Build().Serialize(read);
        Assert.Equal(FakeGateway.Status, JsonParser.Default.Parse<Status>(json));
    }

    [Fact]
    public async Task Watch_prints_one_line_of_json_for_each_change_and_ends_with_the_gateway()
    {
        var (code, text, error) = await Status("--watch", "-o", "json");
        var lines = text.TrimEnd('\n').Split('\n');
        Assert.Equal(["degraded", "ready"], lines.Select(l => JsonParser.Default.Parse<Status>(l).State));
        Assert.Equal(4, code);
        Assert.Contains("ended the watch", error);
    }

    [Theory]
    [InlineData(true, "", true)]
    [InlineData(true, "1", false)]
    [InlineData(false, "", false)]
    public async Task Colours_only_a_terminal_that_wants_it(bool terminal, string noColor, bool colours)
    {
        await using var gateway = await FakeGateway.StartAsync(Socket);
        var (_, text, _) = await Cli.RunAsync(["status"], _dir, TimeProvider.System, "", terminal, ("NO_COLOR", noColor));
        Assert.Equal(colours, text.Contains("\u001b[", StringComparison.Ordinal));
    }

    /// <summary>On a terminal of 100 columns no line is longer; names stay whole, reasons wrap.</summary>
    [Fact]
    public async Task Fits_the_terminal()
    {
        await using var gateway = await FakeGateway.StartAsync(Socket);
        var (_, text, _) = await Cli.RunAsync(["status"], _dir, TimeProvider.System, "", true, ("NO_COLOR", "1"));
        Assert.All(text.Split('\n'), l => Assert.True(l.Length <= 102, l));
        Assert.Contains("interconnect", text);
        Assert.Contains("unreachable", text);
    }

    [Fact]
    public void What_a_peer_says_cannot_paint_the_terminal()
    {
        var status = new Status { Gateway = "a\u001b[2J", Problems = { "[red]x[/]\u0007" } };
        var host = new CliHost
        {
            In = TextReader.Null,
            Out = TextWriter.Null,
            Error = TextWriter.Null,
            Time = TimeProvider.System,
            Environment = new Dictionary<string, string>(),
        };
        var text = Output.StatusScreen.Render(status, false, host);
        Assert.DoesNotContain('\u001b', text);
        Assert.DoesNotContain('\u0007', text);
        Assert.Contains("[red]x[/]", text);
    }

    [Fact]
    public async Task A_cut_for_a_while_is_taken_back()
    {
        await using var gateway = await FakeGateway.StartAsync(Socket);
        var (code, _, error) = await Cli.RunAsync(["fault", "cut", "dx", "--for", "50ms"], _dir, TimeProvider.System);
        Assert.True(code == 0, error);
        Assert.Contains(("dx", "", "cut"), gateway.Faults);
        Assert.Equal(("dx", "", ""), gateway.Faults[^1]);
    }

    private async Task<(int Code, string Out, string Error)> Status(params string[] args)
    {
        await using var gateway = await FakeGateway.StartAsync(Socket);
        return await Cli.RunAsync(["status", .. args], _dir, new ManualTime());
    }
}
