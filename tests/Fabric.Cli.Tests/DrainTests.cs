using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Cli.Tests;

/// <summary>What a drain asks of the gateway, shows meanwhile, and reports.</summary>
public sealed class DrainTests : IDisposable
{
    private readonly string _dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;

    public void Dispose() => Directory.Delete(_dir, recursive: true);

    [Fact]
    public async Task What_is_left_at_the_limit_is_a_table_and_an_exit_code_of_its_own()
    {
        var (code, text, error, asked) = await RunAsync(answers: 100, "drain", "gateway", "--limit", "2s");

        Assert.Equal(5, code);
        Assert.Equal(
            """
            SERVICE    PEER        DIRECTION  LINK  STREAMS
            web.shop   virginia-1  out        dx    5
            db.[shop]  virginia-1  in         dx    1

            """.ReplaceLineEndings("\n"), text);
        Assert.Equal("6 streams left after the limit; the gateway takes no new ones until `fabric undrain gateway`.\n", error);
        Assert.Equal(2, asked.Sum(r => r.LimitSeconds), 6);
        Assert.All(asked, r => Assert.False(r.Force || r.Undo));
    }

    [Fact]
    public async Task Force_cuts_at_the_limit_and_not_before()
    {
        var (code, _, error, asked) = await RunAsync(answers: 100, "drain", "gateway", "--limit", "1500ms", "--force");

        Assert.Equal((5, "Drained by force: 6 streams cut.\n"), (code, error));
        Assert.Equal([false, false, true], asked.Select(r => r.Force));
    }

    [Fact]
    public async Task Json_says_the_same_and_all_of_it()
    {
        var (code, text, _, _) = await RunAsync(answers: 100, "drain", "gateway", "--limit", "500ms", "-o", "json");
        var reply = JsonParser.Default.Parse<DrainReply>(text);
        Assert.Equal((5, 6u, 2, 0u), (code, reply.Remaining, reply.Streams.Count, reply.Cut));

        (code, text, _, _) = await RunAsync(answers: 1, "drain", "gateway", "-o", "json");
        Assert.Equal((0, new DrainReply()), (code, JsonParser.Default.Parse<DrainReply>(text)));
    }

    [Fact]
    public async Task A_link_that_nothing_can_replace_says_why()
    {
        var (code, _, error, asked) = await RunAsync(answers: 100, "drain", "link", "dx", "--peer", "virginia-1", "--limit", "500ms");

        Assert.Equal((5, "6 streams still on dx (no other link is left); it stays drained until `fabric undrain link dx`.\n"), (code, error));
        Assert.Equal(("dx", "virginia-1"), (asked[0].Link, asked[0].Peer));
    }

    [Fact]
    public async Task A_terminal_sees_what_is_waited_for_and_a_pipe_does_not()
    {
        var (_, _, error, _) = await RunAsync(answers: 3, true, "drain", "gateway");
        Assert.Equal(2, error.Split("\r\u001b[Kwaiting for 6 streams: web.shop 5, db.[shop] 1").Length - 1);
        Assert.EndsWith("\r\u001b[KDrained: no stream is left.\n", error);

        (_, _, error, _) = await RunAsync(answers: 3, "drain", "gateway");
        Assert.Equal("Drained: no stream is left.\n", error);
    }

    private Task<(int Code, string Out, string Error, List<DrainRequest> Asked)> RunAsync(int answers, params string[] args) =>
        RunAsync(answers, false, args);

    private async Task<(int Code, string Out, string Error, List<DrainRequest> Asked)> RunAsync(int answers, bool terminal, params string[] args)
    {
        await using var gateway = await FakeGateway.StartAsync(Path.Combine(_dir, "fabricd.sock"));
        gateway.DrainAnswers = answers;
        var (code, text, error) = await Cli.RunAsync(args, _dir, TimeProvider.System, "", terminal, ("NO_COLOR", "1"));
        return (code, text, error, gateway.Drains);
    }
}
