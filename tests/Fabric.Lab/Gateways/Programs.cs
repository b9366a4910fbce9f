using System.Runtime.InteropServices;

using Fabric.Lab.Processes;

namespace Fabric.Lab.Gateways;

/// <summary>Where the programs under test lie: as built beside this one, or in the folder that FABRIC_LAB_PROGRAMS names, as scripts/publish.sh makes it.</summary>
public sealed record Programs(string Fabricd, string Fabric)
{
    /// <summary>What a program needs to find the .NET runtime that this one runs on, wherever it is installed.</summary>
    public static IReadOnlyDictionary<string, string> Environment { get; } = new Dictionary<string, string>
    {
        // .../dotnet/shared/Microsoft.NETCore.App/10.0.1/
        ["DOTNET_ROOT"] = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..")),
        ["DOTNET_NOLOGO"] = "1",
    };

    /// <summary>Absolute path of the checkout.</summary>
    public static string Repository => Built.Parent!.Parent!.Parent!.Parent!.Parent!.FullName;

    // .../tests/Fabric.Lab/bin/Release/net10.0
    private static DirectoryInfo Built => new(AppContext.BaseDirectory.TrimEnd('/'));

    public static Programs Find()
    {
        if (System.Environment.GetEnvironmentVariable("FABRIC_LAB_PROGRAMS") is { Length: > 0 } folder)
        {
            return Existing(Path.Combine(folder, "fabricd"), Path.Combine(folder, "fabric"));
        }

        return Existing(
            Path.Combine(Repository, "src", "Fabric.Gateway", "bin", Built.Parent!.Name, Built.Name, "fabricd"),
            Path.Combine(Repository, "src", "Fabric.Cli", "bin", Built.Parent!.Name, Built.Name, "fabric"));
    }

    private static Programs Existing(string fabricd, string fabric)
    {
        foreach (var path in new[] { fabricd, fabric }.Where(p => !File.Exists(p)))
        {
            throw new LabException($"{path} does not exist: build src/Fabric.Gateway and src/Fabric.Cli in the same configuration");
        }

        return new Programs(fabricd, fabric);
    }
}
