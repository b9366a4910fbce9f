using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Fabric.Testing;

/// <summary>
/// A test that needs what a machine may lack. It is reported as skipped, by name and with what is missing; CI fails on skips.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class RequiresFactAttribute : FactAttribute
{
    /// <param name="needs"><c>root</c>, <c>linux</c>, <c>python3-grpcio</c>, <c>libssl</c>, or names of commands that must be on the PATH.</param>
    public RequiresFactAttribute(params string[] needs) => Skip = Missing.Describe(needs)!;
}

/// <inheritdoc cref="RequiresFactAttribute"/>
[AttributeUsage(AttributeTargets.Method)]
public sealed class RequiresTheoryAttribute : TheoryAttribute
{
    /// <param name="needs"><c>root</c>, <c>linux</c>, <c>python3-grpcio</c>, <c>libssl</c>, or names of commands that must be on the PATH.</param>
    public RequiresTheoryAttribute(params string[] needs) => Skip = Missing.Describe(needs)!;
}

internal static class Missing
{
    /// <summary>What is missing, as one sentence; null when nothing is.</summary>
    public static string? Describe(string[] needs)
    {
        var missing = needs.Where(n => !Has(n)).ToArray();
        return missing.Length == 0 ? null : $"needs {string.Join(", ", missing)}";
    }

    private static readonly Lazy<bool> PythonHasGrpc = new(() =>
    {
        using var python = File.Exists("/usr/bin/python3")
            ? Process.Start("/usr/bin/python3", ["-c", "import grpc, google.protobuf"]) : null;
        python?.WaitForExit();
        return python?.ExitCode == 0;
    });

    private static bool Has(string need) => need switch
    {
        "root" => Environment.IsPrivilegedProcess,
        "linux" => OperatingSystem.IsLinux(),
        "python3-grpcio" => PythonHasGrpc.Value,
        "libssl" => OperatingSystem.IsLinux() && NativeLibrary.TryLoad("libssl.so.3", out _),
        _ => HasCommand(need),
    };

    private static bool HasCommand(string need) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .Concat(["/usr/sbin", "/sbin"])
        .Any(dir => dir.Length > 0 && File.Exists(Path.Combine(dir, need)));
}
