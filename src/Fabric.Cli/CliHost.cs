using System.Collections;

namespace Fabric.Cli;

/// <summary>
/// What a command sees of the world around it: data goes to <see cref="Out"/>, messages go to <see cref="Error"/>.
/// </summary>
internal sealed record CliHost
{
    public required TextReader In { get; init; }
    public required TextWriter Out { get; init; }
    public required TextWriter Error { get; init; }
    public required TimeProvider Time { get; init; }
    public required IReadOnlyDictionary<string, string> Environment { get; init; }

    /// <summary>Whether <see cref="Out"/> is looked at by a person now.</summary>
    public bool IsTerminal { get; init; }

    /// <summary>Columns of the terminal.</summary>
    public int Width { get; init; } = 120;

    /// <summary>NO_COLOR (no-color.org), TERM=dumb and pipes turn colour off.</summary>
    public bool Colour => IsTerminal && Setting("NO_COLOR", "").Length == 0 && Setting("TERM", "") != "dumb";

    public string Setting(string name, string otherwise) =>
        Environment.TryGetValue(name, out var value) && value.Length > 0 ? value : otherwise;

    public static CliHost OfThisProcess() => new()
    {
        In = Console.In,
        Out = Console.Out,
        Error = Console.Error,
        Time = TimeProvider.System,
        Environment = System.Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
            .ToDictionary(e => (string)e.Key, e => (string?)e.Value ?? ""),
        IsTerminal = !Console.IsOutputRedirected,
        Width = Console.IsOutputRedirected ? 120 : Math.Max(40, Console.WindowWidth),
    };
}
