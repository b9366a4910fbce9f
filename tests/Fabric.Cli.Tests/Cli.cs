namespace Fabric.Cli.Tests;

/// <summary>The command line in this process: what it wrote and how it ended.</summary>
internal static class Cli
{
    public static async Task<(int Code, string Out, string Error)> RunAsync(string[] args, string dir, TimeProvider time,
        string input = "",
        bool terminal = false, params (string Name, string Value)[] environment)
    {
        using var stdout = new StringWriter { NewLine = "\n" };
        using var stderr = new StringWriter { NewLine = "\n" };
        var host = new CliHost
        {
            In = new StringReader(input),
            Out = stdout,
            Error = stderr,
            Time = time,
            IsTerminal = terminal,
            Width = 100,
            Environment = new Dictionary<string, string>
            {
                ["FABRIC_SOCKET"] = Path.Combine(dir, "fabricd.sock"),
                ["FABRIC_STATE"] = Path.Combine(dir, "state"),
                ["FABRIC_CA"] = Path.Combine(dir, "ca"),
                ["FABRIC_TOPOLOGY"] = Path.Combine(dir, "topology"),
            }.Concat(environment.ToDictionary(e => e.Name, e => e.Value)).GroupBy(e => e.Key).ToDictionary(g => g.Key, g =>
                g.Last().Value),
        };
        var code = await FabricCommand.RunAsync(args, host).WaitAsync(TimeSpan.FromSeconds(60));
        return (code, stdout.ToString(), stderr.ToString());
    }
}
