using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Fabric.Lab.Processes;

/// <summary>
/// Ctrl-C and SIGTERM stop what runs inside <see cref="Guard"/>, and nothing outside: what tidies up afterwards runs to its end.
/// </summary>
public static class Interruption
{
    private static readonly AsyncLocal<CancellationToken> Ambient = new();

    /// <summary>Cancelled when what runs now must stop.</summary>
    public static CancellationToken Token => Ambient.Value;

    /// <summary>Runs it until its end, or until a signal: then throws <see cref="OperationCanceledException"/>.</summary>
    public static async Task Guard(Func<Task> run)
    {
        using var interrupted = new CancellationTokenSource();
        void Interrupt(PosixSignalContext context)
        {
            context.Cancel = true;
            interrupted.Cancel();
        }

        using var int1 = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt);
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Interrupt);
        using var hang = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Interrupt);
        // Flows into what is called here, and not back to the caller.
        async Task Inner()
        {
            Ambient.Value = interrupted.Token;
            await run();
        }

        await Inner();
    }

    /// <summary>Debian keeps nginx, ip and nft where an ordinary user's PATH does not look.</summary>
    [ModuleInitializer]
    internal static void CompletePath() => Environment.SetEnvironmentVariable("PATH", $"{Environment.GetEnvironmentVariable("PATH")}:/usr/sbin:/sbin");
}
