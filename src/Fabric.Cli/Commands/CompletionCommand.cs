using System.CommandLine;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric completion SHELL</c>: a script for the shell's start-up file. It asks this program for each completion, by
/// <c>fabric [suggest:POSITION] LINE</c>, so it never falls behind the commands.
/// </summary>
internal static class CompletionCommand
{
    public static Command Create(CliHost host)
    {
        var shell = new Argument<string>("shell") { Description = "bash, zsh or fish" };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command = new Command("completion", "Print a completion script, such as: source <(fabric completion bash)") { shell };
        command.SetAction(result =>
        {
            host.Out.Write(result.GetRequiredValue(shell) switch { "bash" => Bash, "zsh" => Zsh, _ => Fish });
            return ExitCode.Ok;
        });
        return command;
    }

    private const string Bash = """
        # bash completion for fabric: source <(fabric completion bash)
        _fabric()
        {
            local line="${COMP_LINE#*[[:space:]]}" cut word="${COMP_WORDS[COMP_CWORD]}"
            cut=$((${#COMP_LINE} - ${#line}))
            local IFS=$'\n'
            COMPREPLY=($(compgen -W "$(fabric "[suggest:$((COMP_POINT - cut))]" "$line" 2>/dev/null)" -- "$word"))
        }
        complete -o default -F _fabric fabric

        """;

    private const string Zsh = """
        #compdef fabric
        # zsh completion for fabric: source <(fabric completion zsh)
        _fabric()
        {
            local line="${BUFFER#*[[:space:]]}"
            local -a found
            found=("${(@f)$(fabric "[suggest:$((CURSOR - ${#BUFFER} + ${#line}))]" "$line" 2>/dev/null)}")
            compadd -- ${found:#}
        }
        (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -D; }
        compdef _fabric fabric

        """;

    private const string Fish = """
        # fish completion for fabric: fabric completion fish | source
        function __fabric_complete
            set -l line (string replace -r '^\S+\s' '' -- (commandline -cp))
            fabric "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null
        end
        complete -c fabric -f -a '(__fabric_complete)'

        """;
}
