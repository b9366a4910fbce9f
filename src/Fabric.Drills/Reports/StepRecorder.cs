using System.Collections.Immutable;

namespace Fabric.Drills.Reports;

/// <summary>Runs the steps of a drill one after the other, and keeps how each went.</summary>
public sealed class StepRecorder(TimeProvider time)
{
    public ImmutableArray<DrillStep> Steps { get; private set; } = [];

    /// <summary>
    /// Runs one step, which returns what it found. One that throws is recorded as failed with the message, and throws on:
    /// what follows does not run, and what is disposed on the way is.
    /// </summary>
    public async Task RunAsync(string name, Func<Task<string>> step)
    {
        var started = time.GetTimestamp();
        try
        {
            Add(name, true, started, await step());
        }
        catch (Exception e)
        {
            Add(name, false, started, e is OperationCanceledException ? "cancelled" : e.Message);
            throw;
        }
    }

    private void Add(string name, bool ok, long started, string details) =>
        Steps = Steps.Add(new DrillStep(name, ok, Math.Round(time.GetElapsedTime(started).TotalMilliseconds, 1), details));
}
