using System.Collections.Immutable;

namespace Fabric.Topology.Asked;

/// <summary>A place in a file; line and column count from 1.</summary>
internal readonly record struct Mark(string File, int Line, int Column)
{
    public override string ToString() => $"{File}:{Line}:{Column}";
}

/// <summary>
/// Collects what is wrong. At <see cref="Limit"/> findings it stops with one that says so: whoever has that many fixes some
/// first. The same finding at the same place (a value reached through several aliases) counts once.
/// </summary>
internal sealed class DiagnosticBag
{
    public const int Limit = 200;

    private readonly List<Diagnostic> found = [];
    private readonly HashSet<Diagnostic> seen = [];

    public bool IsFull => found.Count > Limit;
    public bool HasErrors { get; private set; }

    public void Error(string code, Mark at, string message, string? hint = null) => Add(code, Severity.Error, at, message, hint);

    public void Warning(string code, Mark at, string message, string? hint = null) =>
        Add(code, Severity.Warning, at, message, hint);

    private void Add(string code, Severity severity, Mark at, string message, string? hint)
    {
        HasErrors |= severity == Severity.Error;
        if (IsFull)
        {
            return;
        }

        if (found.Count == Limit)
        {
            // Warnings alone refuse nothing, however many. They come last: no error is withheld behind them.
            found.Add(new Diagnostic(DiagnosticCodes.LimitExceeded, HasErrors ? Severity.Error : Severity.Warning, at.File, at.Line, at.Column,
                $"more than {Limit} findings: the rest is withheld", "fix these and check again"));
            return;
        }

        var diagnostic = new Diagnostic(code, severity, at.File, at.Line, at.Column, message, hint);
        if (seen.Add(diagnostic))
        {
            found.Add(diagnostic);
        }
    }

    /// <summary>In the order of files (ordinal), lines and columns.</summary>
    public ImmutableArray<Diagnostic> ToSorted() =>
    [
        .. found.OrderBy(d => d.File, StringComparer.Ordinal).ThenBy(d => d.Line).ThenBy(d => d.Column)
            .ThenBy(d => d.Code, StringComparer.Ordinal),
    ];
}
