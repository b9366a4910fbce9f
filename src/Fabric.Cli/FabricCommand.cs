using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using Fabric.Cli.Commands;

namespace Fabric.Cli;

/// <summary>The command line as a whole: parse, run, and every failure told in the same way.</summary>
internal static class FabricCommand
{
    public static async Task<int> RunAsync(string[] args, CliHost host)
    {
        var result = Create(host).Parse(args);
        if (result.Action is ParseErrorAction)
        {
            return Misused(result, host);
        }

        var configuration = new InvocationConfiguration
        {
            Output = host.Out,
            Error = host.Error,
            EnableDefaultExceptionHandler = false,

            // An interrupted drill puts everything back before it ends; other commands end at once in any case.
            ProcessTerminationTimeout = TimeSpan.FromSeconds(30),
        };
        try
        {
            return await result.InvokeAsync(configuration);
        }
        catch (CliException e)
        {
            return Failed(host, e.ExitCode, e.Message, e.Hint);
        }
        catch (OperationCanceledException)
        {
            return ExitCode.Interrupted;
        }
        catch (UnauthorizedAccessException e)
        {
            return Failed(host, ExitCode.Failure, e.Message, "run it as the user that fabricd runs as, or as root");
        }
        catch (Exception e) when (e is IOException or InvalidDataException)
        {
            return Failed(host, ExitCode.Failure, e.Message, null);
        }
    }

    private static RootCommand Create(CliHost host)
    {
        var root = new RootCommand("Connects services across sites: names, encryption, identity, and links that may fail.")
        {
            InitCommand.Create(host),
            TokenCommand.Create(host),
            JoinCommand.Create(host),
            WorkloadCommand.Create(host),
            ValidateCommand.Create(host),
            PolicyCommand.Create(host),
            StatusCommand.Create(host),
            ReloadCommand.Create(host),
            DnsCommand.Create(host),
            DrainCommands.Drain(host),
            DrainCommands.Undrain(host),
            TrustCommand.Create(host),
            EvictCommands.Site(host),
            EvictCommands.Gateway(host),
            FaultCommand.Create(host),
            DrillCommand.Create(host),
            BugReportCommand.Create(host),
            VersionCommand.Create(host),
            CompletionCommand.Create(host),
        };
        var help = root.Options.OfType<HelpOption>().Single();
        foreach (var odd in help.Aliases.Where(a => a != "-h").ToList())
        {
            help.Aliases.Remove(odd);
        }

        root.Options.OfType<VersionOption>().Single().Action = new VersionCommand.PrintVersion(host);
        return root;
    }

    private static int Misused(ParseResult result, CliHost host)
    {
        var known = result.CommandResult.Command.Subcommands.Select(c => c.Name)
            .Concat(result.CommandResult.Command.Options.Select(o => o.Name)).ToList();
        var stray = result.UnmatchedTokens.FirstOrDefault();
        var message = stray is not null && result.CommandResult.Command.Subcommands.Count > 0
            ? $"there is no command '{stray}'"
            : string.Join(' ', result.Errors[0].Message.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).TrimEnd('.');
        var near = stray is null ? null : Nearest.To(stray, known);
        var path = string.Join(' ', Path(result.CommandResult.Command));
        return Failed(host, ExitCode.Usage, message, near is not null ? $"did you mean '{near}'?" : $"see {path} --help");
    }

    private static IEnumerable<string> Path(Command command) =>
        command.Parents.OfType<Command>().FirstOrDefault() is { } parent ? [.. Path(parent), command.Name] : ["fabric"];

    private static int Failed(CliHost host, int code, string message, string? hint)
    {
        host.Error.WriteLine($"fabric: {message}");
        if (hint is not null)
        {
            host.Error.WriteLine($"  hint: {hint}");
        }

        return code;
    }
}
