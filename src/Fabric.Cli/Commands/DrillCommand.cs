using System.CommandLine;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric drill</c>.</summary>
internal static class DrillCommand
{
    public static Command Create(CliHost host) => new("drill", "Declared faults with a budget: run, measured, put back, reported")
    {
        DrillResponderCommand.Create(host),
    };
}
