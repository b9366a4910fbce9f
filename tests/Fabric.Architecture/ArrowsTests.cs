namespace Fabric.Architecture;

public sealed class ArrowsTests
{
    private static readonly Tree Repository = Tree.Load();

    [Fact]
    public void Sources_use_only_what_the_table_allows() => Violations.AssertNone(Arrows.OfSources(Repository));

    [Theory]
    [InlineData("Routing", "Tunnel")]
    [InlineData("Topology", "Protocol")]
    [InlineData("Cli", "Gateway")]
    [InlineData("Tunnel", "Overlay")]
    public void A_reference_against_the_arrows_is_caught(string from, string to)
    {
        var planted = Repository.With($"src/Fabric.{from}/Fabric.{from}.csproj", Project(to));
        Assert.Contains(Arrows.OfSources(planted), v => v.Contains($"{from} must not use {to}"));
    }

    [Fact]
    public void A_project_that_is_not_in_the_table_is_caught() => Assert.Contains(
        Arrows.OfSources(Repository.With("src/Fabric.Extra/Fabric.Extra.csproj", Project("Topology"))), v => v.Contains("Extra is not in the table"));

    [Fact]
    public void Tests_use_only_their_subject_and_what_it_uses() => Violations.AssertNone(Arrows.OfTests(Repository));

    [Theory]
    [InlineData("Routing.Tests", "Gateway")]
    [InlineData("Lab", "Gateway")]
    [InlineData("Simulation", "Cli")]
    public void A_test_that_reaches_over_its_subject_is_caught(string from, string to)
    {
        var planted = Repository.With($"tests/Fabric.{from}/Fabric.{from}.csproj", Project(to));
        Assert.Contains(Arrows.OfTests(planted), v => v.Contains($"{from} must not use {to}"));
    }

    [Fact]
    public void The_map_of_the_code_shows_the_same_arrows() => Violations.AssertNone(Arrows.OfReadme(Repository));

    [Fact]
    public void A_map_that_lies_is_caught()
    {
        var map = Repository.Text("src/README.md");
        Assert.Contains(Arrows.OfReadme(Repository.With("src/README.md", map.Replace("| Topology |", "| Topology, Tunnel |"))), v => v.Contains("Fabric.Routing"));
        Assert.Contains(Arrows.OfReadme(Repository.With("src/README.md", map.Replace("`Fabric.Overlay`", "`Fabric.Underlay`"))), v => v.Contains("no row for Fabric.Overlay"));
        Assert.Contains(Arrows.OfReadme(Repository.With("src/README.md", map + "| `Fabric.Extra` | more | – |\n")), v => v.Contains("Fabric.Extra is in the table"));
    }

    [Fact]
    public void Every_project_is_in_the_solution() => Violations.AssertNone(Arrows.OfSolution(Repository));

    [Fact]
    public void A_project_outside_the_solution_is_caught()
    {
        Assert.Contains(Arrows.OfSolution(Repository.With("src/Fabric.Extra/Fabric.Extra.csproj", Project("Topology"))), v => v.Contains("lacks src/Fabric.Extra"));
        var solution = Repository.Text("Fabric.sln").Replace("Fabric.Lab.csproj", "Fabric.Labs.csproj");
        Assert.Equal(2, Arrows.OfSolution(Repository.With("Fabric.sln", solution)).Count());
    }

    private static string Project(string uses) =>
        $"""<Project Sdk="Microsoft.NET.Sdk"><ItemGroup><ProjectReference Include="..\Fabric.{uses}\Fabric.{uses}.csproj" /></ItemGroup></Project>""";
}
