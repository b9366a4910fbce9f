using System.Text.RegularExpressions;

namespace Fabric.Topology.Tests;

/// <summary>topologies/: worked examples load without a finding, broken ones with exactly those written beside them.</summary>
public partial class ExamplesTests
{
    public static TheoryData<string> Worked =>
        [.. Directory.GetFiles(Golden.Topologies, "*.yaml").Select(p => Path.GetFileName(p)).Order(StringComparer.Ordinal)];

    public static TheoryData<string> Broken => [.. BrokenNames()];

    [Theory]
    [MemberData(nameof(Worked))]
    public void A_worked_example_loads_without_a_finding(string file)
    {
        TopologyResult result = Golden.Load(Path.Combine(Golden.Topologies, file));

        Assert.Empty(result.Diagnostics);
        Assert.NotNull(result.Topology);
    }

    [Theory]
    [MemberData(nameof(Broken))]
    public void A_broken_example_says_exactly_what_is_written_beside_it(string name)
    {
        string path = Path.Combine(Golden.Topologies, "broken", name);
        TopologyResult result = Golden.Load(Directory.Exists(path) ? path : path + ".yaml");

        Golden.Check(path + ".expected", string.Concat(result.Diagnostics.Select(d => d + "\n")));
        Assert.Contains(result.Diagnostics, d => d.Code == name[..7]);
        Assert.Equal(result.Diagnostics.All(d => d.Severity == Severity.Warning), result.Topology is not null);
    }

    [Fact]
    public void Every_code_has_a_broken_example_and_every_example_a_code()
    {
        Assert.Equal(DiagnosticCodes.All.Select(c => c.Code), BrokenNames().Select(n => n[..7]).Distinct());
    }

    [Fact]
    public void Every_code_is_listed_once_and_no_other()
    {
        IEnumerable<string> constants = typeof(DiagnosticCodes).GetFields().Where(f => f.IsLiteral)
            .Select(f => (string)f.GetRawConstantValue()!);

        Assert.Equal(constants.Order(StringComparer.Ordinal), DiagnosticCodes.All.Select(c => c.Code));
        Assert.Equal(DiagnosticCodes.All.Length, DiagnosticCodes.All.Select(c => c.Rule).Distinct().Count());
    }

    [Fact]
    public void Examples_name_addresses_that_belong_to_nobody()
    {
        // Documentation (RFC 5737, RFC 3849), private (RFC 1918, RFC 4193), shared (RFC 6598), link-local (RFC 3927), loopback; 0/8 and 224/4 as errors.
        IEnumerable<string> texts =
            Directory.GetFiles(Golden.Topologies, "*.*", SearchOption.AllDirectories).Select(File.ReadAllText);
        Assert.DoesNotContain(texts.SelectMany(t => Address().Matches(t)).Select(m => m.Value).Distinct(), a =>
            !AllowedAddress().IsMatch(a));
    }

    private static IEnumerable<string> BrokenNames()
    {
        string broken = Path.Combine(Golden.Topologies, "broken");
        return Directory.GetFiles(broken, "*.yaml").Select(p => Path.GetFileNameWithoutExtension(p))
            .Concat(Directory.GetDirectories(broken).Select(p => Path.GetFileName(p))).Order(StringComparer.Ordinal);
    }

    [GeneratedRegex(@"\b\d{1,3}(\.\d{1,3}){3}\b")]
    private static partial Regex Address();

    [GeneratedRegex(@"^(192\.0\.2|198\.51\.100|203\.0\.113|169\.254|10\.\d+|127\.\d+|192\.168|"
        + @"100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])|0(10)?\.0|8\.0\.0|224\.0)\.")]
    private static partial Regex AllowedAddress();
}
