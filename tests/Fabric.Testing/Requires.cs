namespace Fabric.Testing;

/// <summary>
/// A test that needs what a machine may lack. It is reported as skipped, by name and with what is missing; CI fails on skips.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class RequiresFactAttribute : FactAttribute
{
    /// <param name="needs"><c>root</c>, or names of commands that must be on the PATH.</param>
    public RequiresFactAttribute(params string[] needs) => Skip = Missing.Describe(needs)!;
}

/// <inheritdoc cref="RequiresFactAttribute"/>
[AttributeUsage(AttributeTargets.Method)]
public sealed class RequiresTheoryAttribute : TheoryAttribute
{
    /// <param name="needs"><c>root</c>, or names of commands that must be on the PATH.</param>
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

    private static bool Has(string need) => need == "root"
        ? Environment.IsPrivilegedProcess
        : (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
            .Concat(["/usr/sbin", "/sbin"])
            .Any(dir => dir.Length > 0 && File.Exists(Path.Combine(dir, need)));
}
