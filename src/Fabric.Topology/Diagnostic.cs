namespace Fabric.Topology;

public enum Severity
{
    /// <summary>Loaded all the same, but probably not what was meant.</summary>
    Warning,

    /// <summary>The topology is refused.</summary>
    Error,
}

/// <summary>
/// One finding about a topology file. Line and column count from 1. <see cref="Code"/> is stable: its rule stands in
/// <c>topologies/README.md</c>. The message carries the value and the rule; the hint says what to do.
/// </summary>
public sealed record Diagnostic(
    string Code, Severity Severity, string File, int Line, int Column, string Message, string? Hint)
{
    /// <summary><c>file:line:column: error FAB0101: message (hint: ...)</c>, as compilers print and editors parse it.</summary>
    public override string ToString() =>
        $"{File}:{Line}:{Column}: {(Severity == Severity.Error ? "error" : "warning")} {Code}: {Message}"
        + (Hint is null ? "" : $" (hint: {Hint})");
}
