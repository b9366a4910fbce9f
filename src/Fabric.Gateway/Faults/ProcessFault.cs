using System.Globalization;
using System.Runtime.InteropServices;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Faults;

/// <summary>Ends or stops this very process, by the signals that nothing can catch.</summary>
internal sealed partial class ProcessFault(FaultSpec fault) : PreparedFault
{
    private const int Kill = 9, Stop = 19;

    /// <summary>So long after the answer was made: it has to leave before.</summary>
    private static readonly TimeSpan _afterAnswer = TimeSpan.FromMilliseconds(150);
    private readonly CancellationTokenSource _reverted = new();

    public override string Means => "signal";

    public override IReadOnlyList<string[]> Undo => fault.Kind == FaultKind.GatewayPause
        ? [["kill", "-CONT", Environment.ProcessId.ToString(CultureInfo.InvariantCulture)]] : [];

    public override Task ApplyAsync() => Task.CompletedTask;

    /// <summary>Who can say this has been woken, or was never stopped.</summary>
    public override Task RevertAsync() => _reverted.CancelAsync();

    public override void Answered()
    {
        var signal = fault.Kind == FaultKind.GatewayKill ? Kill : Stop;
        _ = Task.Delay(_afterAnswer, TimeProvider.System, _reverted.Token).ContinueWith(
            _ => kill(Environment.ProcessId, signal), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
    }

    [LibraryImport("libc")]
    private static partial int kill(int process, int signal);
}
