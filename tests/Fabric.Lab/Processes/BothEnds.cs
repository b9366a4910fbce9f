namespace Fabric.Lab.Processes;

/// <summary>
/// Messages with logs and outputs in them. What is shown of a long one may be its beginning or its end, and so what was wrong stands at both.
/// </summary>
internal static class BothEnds
{
    /// <summary>Up to so many letters the eye has all of it.</summary>
    private const int Short = 400;

    /// <summary>What was wrong, what was said, and what was wrong once more where that was much.</summary>
    public static string Of(string wrong, string said)
    {
        said = said.TrimEnd();
        return said.Length == 0 ? wrong : $"{wrong}\n{said}" + (said.Length > Short ? $"\n{wrong}" : "");
    }
}
