using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Fabric.Cli;

/// <summary>Options that several commands share, with their defaults from the environment.</summary>
internal static class CommonOptions
{
    public static Option<string> Output(params string[] formats) => new Option<string>("--output", "-o")
    {
        Description = $"How to print: {string.Join(", ", formats)}",
        HelpName = "format",
        DefaultValueFactory = _ => formats[0],
    }.AcceptOnlyFromAmong(formats);

    public static Option<string> Socket(CliHost host) => Path(host, "--socket", "FABRIC_SOCKET", "/run/fabric/fabricd.sock",
        "The gateway's admin socket");

    public static Option<string> State(CliHost host) => Path(host, "--state", "FABRIC_STATE", "/var/lib/fabric",
        "Folder of the gateway's state; its identity is in identity/");

    public static Option<string> Topology(CliHost host) => Path(host, "--topology", "FABRIC_TOPOLOGY", DefaultTopology,
        "Folder (or file) of the topology");

    public const string DefaultTopology = "/etc/fabric/topology";
    public const string DefaultCa = "/etc/fabric/ca";

    public static Option<string> Path(CliHost host, string name, string variable, string otherwise, string description)
    {
        return new Option<string>(name)
        {
            Description = $"{description} (environment: {variable})",
            HelpName = "path",
            DefaultValueFactory = _ => host.Setting(variable, otherwise),
        };
    }

    /// <summary>A span of time written as <c>90s</c>, <c>15m</c>, <c>1h</c>, <c>7d</c> or <c>500ms</c>.</summary>
    public static Option<TimeSpan?> Duration(string name, string description) => new(name)
    {
        Description = $"{description}; such as 500ms, 90s, 15m, 1h, 7d",
        HelpName = "duration",
        CustomParser = result =>
        {
            var text = result.Tokens.Single().Value;
            if (ParseDuration(text) is { } span)
            {
                return span;
            }

            result.AddError($"'{text}' is not a duration for {name}: write 500ms, 90s, 15m, 1h or 7d");
            return null;
        },
    };

    internal static TimeSpan? ParseDuration(string text)
    {
        (string Unit, double Seconds)[] units = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
        foreach (var (unit, seconds) in units)
        {
            if (text.EndsWith(unit, StringComparison.Ordinal)
                && double.TryParse(text.AsSpan(0, text.Length - unit.Length), NumberStyles.AllowDecimalPoint,
                    CultureInfo.InvariantCulture, out var number)
                && number * seconds is > 0 and < 366 * 86400d)
            {
                return TimeSpan.FromSeconds(number * seconds);
            }
        }

        return null;
    }
}
