using System.CommandLine;
using System.CommandLine.Invocation;
using System.Runtime.InteropServices;
using Fabric.Cli.Output;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric version</c> and <c>--version</c>.</summary>
internal static class VersionCommand
{
    public static string Version { get; } = typeof(VersionCommand).Assembly.GetName().Version!.ToString(3);

    public static Command Create(CliHost host)
    {
        var output = CommonOptions.Output("text", "json", "yaml");
        var command = new Command("version", "The version of this program") { output };
        command.SetAction(result =>
        {
            var format = result.GetRequiredValue(output);
            var about = new About(Version, RuntimeInformation.FrameworkDescription, RuntimeInformation.RuntimeIdentifier);
            host.Out.WriteLine(format == "text" ? $"fabric {Version}" : Documents.Write(Documents.Of(about), format));
            return ExitCode.Ok;
        });
        return command;
    }

    internal sealed class PrintVersion(CliHost host) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            host.Out.WriteLine($"fabric {Version}");
            return ExitCode.Ok;
        }
    }

    private sealed record About(string Version, string Runtime, string Platform);
}
