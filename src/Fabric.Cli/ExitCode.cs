namespace Fabric.Cli;

/// <summary>What the exit status says; the table is in README.md beside this file.</summary>
internal static class ExitCode
{
    public const int Ok = 0;
    public const int Failure = 1;

    /// <summary>Of <c>policy test</c>, which reports its failures otherwise.</summary>
    public const int Denied = Failure;

    public const int Usage = 2;
    public const int InvalidTopology = 3;
    public const int Unreachable = 4;

    /// <summary>A drain's limit has passed and streams were left; with --force they were cut.</summary>
    public const int StreamsLeft = 5;

    /// <summary>What was asked for holds, and some gateways have not come as far yet.</summary>
    public const int NotEverywhere = 6;

    /// <summary>128 + SIGINT, as shells report it.</summary>
    public const int Interrupted = 130;
}

/// <summary>A command cannot do what it was asked: one line that says why, and one that says what to do.</summary>
internal sealed class CliException(int exitCode, string message, string? hint = null) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
    public string? Hint { get; } = hint;
}
