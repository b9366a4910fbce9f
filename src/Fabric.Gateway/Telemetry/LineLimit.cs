using Fabric.Routing.Rates;

namespace Fabric.Gateway.Telemetry;

/// <summary>
/// Log lines that somebody else can cause: of each source ten at once, then one a second. What is left out is counted elsewhere; the next line that
/// is written says how many it was.
/// </summary>
internal sealed class LineLimit(TimeProvider time)
{
    private readonly SourceRates<string> _rates = new(new SourceLimit(1, 10, 1_024));
    private readonly long _began = time.GetTimestamp();
    private long _omitted;

    /// <summary>The line with what is to be said of those before it; null when it is to be left out.</summary>
    public string? Of(string source, string line)
    {
        if (!_rates.TryTake(source, time.GetElapsedTime(_began)))
        {
            Interlocked.Increment(ref _omitted);
            return null;
        }

        var omitted = Interlocked.Exchange(ref _omitted, 0);
        return omitted == 0 ? line : $"{line} (and {omitted} more that were not logged)";
    }
}
