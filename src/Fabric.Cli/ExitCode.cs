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

    /// <summary>A drill ran, and a budget or the steady state did not hold.</summary>
    public const int DrillFailed = 7;

    /// <summary>A guard spoke against a drill, and nothing was touched.</summary>
    public const int DrillRefused = 8;

    /// <summary>A drill was stopped, by a person or by a stop condition, and everything was put back.</summary>
    public const int DrillAborted = 9;

    /// <summary>Of a drill, something may still be in force.</summary>
    public const int NotReverted = 10;

    /// <summary>128 + SIGINT, as shells report it.</summary>
    public const int Interrupted = 130;
}

/// <summary>A command cannot do what it was asked: one line that says why, and one that says what to do.</summary>
internal sealed class CliException(int exitCode, string message, string? hint = null) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
    public string? Hint { get; } = hint;
}
