using Fabric.Gateway.Faults;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Faults;

/// <summary>The table of kinds in <c>topologies/drills/README.md</c> says by which means each can be had.</summary>
public sealed class MeansTableTests
{
    private static readonly string _table = Path.Combine("topologies", "drills", "README.md");

    [Fact]
    public void Table_says_what_the_code_can()
    {
        var kernel = new KernelMeans(new KernelNames("state"), static () => null, TimeProvider.System, NullLogger.Instance);
        var seam = new SeamMeans(new FaultSeam(TimeProvider.System), new LinkFaults(), static () => null, TimeProvider.System);

        // What this machine lacks does not make it another kind's.
        bool ByKernel(string kind) => kernel.WhyNot(kind)?.Contains("which the kernel knows nothing of", StringComparison.Ordinal) != true;
        var expected = FaultKind.All.ToDictionary(k => k,
            k => string.Join(", ", ((string?[])[ByKernel(k) ? "kernel" : null, seam.WhyNot(k) is null ? "seam" : null]).OfType<string>()));

        var rows = File.ReadLines(Path.Combine(Root(), _table)).SkipWhile(l => l != "| kind | `means` | what is done |").Skip(2).TakeWhile(l => l.StartsWith('|'));
        var said = rows.Select(r => r.Split('|', StringSplitOptions.TrimEntries)).SelectMany(r => r[1].Split(", ").Select(k => (Kind: k.Trim('`'), Means: r[2]))).ToDictionary(r => r.Kind, r => r.Means);
        Assert.Equal(expected.OrderBy(p => p.Key, StringComparer.Ordinal), said.OrderBy(p => p.Key, StringComparer.Ordinal));
    }

    private static string Root()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "Fabric.sln")))
        {
            folder = folder.Parent!;
        }

        return folder.FullName;
    }
}
