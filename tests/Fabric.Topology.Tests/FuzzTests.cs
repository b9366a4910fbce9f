using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace Fabric.Topology.Tests;

/// <summary>Whatever the text, the loader returns: a topology, or errors, never both and never neither.</summary>
public class FuzzTests
{
    private const int Seed = 20_260_401;

    private static readonly string[] Corpus =
    [
        .. Directory.GetFiles(Golden.Topologies, "*.yaml", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
            .Where(p => !p.Contains("billion", StringComparison.Ordinal)).Select(File.ReadAllText),
    ];

    /// <summary>What YAML, this format and their readers stumble over.</summary>
    private static readonly string[] Tokens =
    [
        ":", ": ", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "!!str ", "! ", "|", ">", "|9\n", "'", "\"", "\\", "\"\\x", "#",
        "%", "%YAML 1.2\n", "@",
        "`", "?", "? ", "---\n", "...\n", "\n", "\r", "\t", "  ", "~", "null", "<<: *a", "\0", "\u0085",
        "\u2028", "\ufeff", "\ud800", "😀",
        "-1", "0", "65536", "99999999999999999999", "1e3", "0x10", "off", "/*", "..", "//", "0.0.0.0",
        "::", "::ffff:1.2.3.4", "1.2.3.4/0",
        "name:", "sites:\n", "gateways: ", "ends: []", "services:\n", "address: ", "*.shop", "paris-1", "10ms", "Gbit",
    ];

    [Fact]
    public void Mutated_topologies()
    {
        var random = new Random(Seed);
        var codes = new HashSet<string>();
        int accepted = 0;
        for (int i = 0; i < 4_000; i++)
        {
            var text = new StringBuilder(Corpus[random.Next(Corpus.Length)]);
            for (int edits = random.Next(1, 4); edits > 0; edits--)
            {
                Mutate(text, random);
            }

            TopologyResult result = Check(text.ToString());
            codes.UnionWith(result.Diagnostics.Select(d => d.Code));
            accepted += result.Topology is null ? 0 : 1;
        }

        // If all were refused by the parser, the checks behind it would not have been reached.
        Assert.InRange(accepted, 10, 3_900);
        Assert.InRange(codes.Count, 30, DiagnosticCodes.All.Length);
    }

    [Fact]
    public void Random_tokens()
    {
        var random = new Random(Seed);
        for (int i = 0; i < 4_000; i++)
        {
            Check(string.Concat(Enumerable.Range(0, random.Next(1, 60)).Select(_ => Tokens[random.Next(Tokens.Length)])));
        }
    }

    [Fact]
    public void Random_text() => FsCheck.Check.One(
        Config.QuickThrowOnFailure.WithReplay(1, 3).WithMaxTest(1_000),
        Prop.ForAll(ArbMap.Default.ArbFor<string?>(), text => { Check(text ?? ""); }));

    [Theory]
    [InlineData("[", 100_000)]
    [InlineData("{", 100_000)]
    [InlineData("- ", 100_000)]
    [InlineData("? ", 100_000)]
    [InlineData("a: &a\n", 50_000)]
    [InlineData("[*a,", 50_000)]
    [InlineData("!", 100_000)]
    [InlineData("'", 100_001)]
    [InlineData("a\n\n", 50_000)]
    [InlineData("- &a x\n", 50_000)]
    [InlineData("\"\\u0041", 50_000)]
    public void Repetition(string text, int times) => Check(string.Concat(Enumerable.Repeat(text, times)));

    private static TopologyResult Check(string text)
    {
        TopologyResult result = TopologyLoader.Load([new TopologyFile("t.yaml", text)]);
        bool hasErrors = result.Diagnostics.Any(d => d.Severity == Severity.Error);

        Assert.Equal(result.Topology is null, hasErrors);
        Assert.All(result.Diagnostics, d => Assert.True(
            d is { Line: >= 1, Column: >= 1, Message.Length: < 1_000 } && !d.ToString().Contains('\n')));
        return result;
    }

    private static void Mutate(StringBuilder text, Random random)
    {
        int at = random.Next(text.Length + 1);
        int length = Math.Min(random.Next(1, 20), text.Length - at);
        switch (random.Next(6))
        {
            case 0:
                text.Insert(at, Tokens[random.Next(Tokens.Length)]);
                break;
            case 1:
                text.Remove(at, length);
                break;
            case 2 when at < text.Length:
                text[at] = (char)random.Next(1, 128);
                break;
            case 3:
                text.Insert(at, text.ToString(random.Next(text.Length - length + 1), length));
                break;
            case 4:
                string[] lines = text.ToString().Split('\n');
                (int a, int b) = (random.Next(lines.Length), random.Next(lines.Length));
                (lines[a], lines[b]) = (lines[b], lines[a]);
                text.Clear().AppendJoin('\n', lines);
                break;
            default:
                string other = Corpus[random.Next(Corpus.Length)];
                text.Insert(at, other.AsSpan(0, random.Next(other.Length)));
                break;
        }
    }
}
