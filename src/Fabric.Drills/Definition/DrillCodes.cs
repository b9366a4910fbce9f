using System.Collections.Immutable;

namespace Fabric.Drills.Definition;

/// <summary>
/// What is reported of drills beyond the codes of topologies (<see cref="Topology.DiagnosticCodes"/>), which mean the same here. The table in
/// <c>topologies/drills/README.md</c> is held to this list by a test.
/// </summary>
public static class DrillCodes
{
    public const string BadPercent = "FAB0201";
    public const string BadSize = "FAB0202";
    public const string BadWindow = "FAB0203";
    public const string BadText = "FAB0204";
    public const string NotMeasured = "FAB0205";
    public const string BadTarget = "FAB0206";
    public const string AlwaysRefused = "FAB0207";

    /// <summary>Code and rule, in order of the codes.</summary>
    public static ImmutableArray<(string Code, string Rule)> All { get; } =
    [
        (BadPercent, "A percentage is a number from 0 to 100."),
        (BadSize, "A size is a whole number with `KiB`, `MiB` or `GiB`, within its limits."),
        (BadWindow, "A window is days, from-to and a time zone: `mon-fri 09:00-16:00 Europe/Paris`."),
        (BadText, "Owner and reason say something, in at most 500 characters of one line."),
        (NotMeasured, "What is expected is measured by a probe of the drill."),
        (BadTarget, "An action's target exists in the topology: the link is at the gateway, the service is exported there."),
        (AlwaysRefused, "Its own guards allow it where all that is declared is up."),
    ];
}
