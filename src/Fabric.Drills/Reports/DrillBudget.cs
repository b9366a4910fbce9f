using System.Globalization;

namespace Fabric.Drills.Reports;

/// <summary>What a failover may cost.</summary>
/// <param name="MaxStall">The longest pause that an application may see.</param>
public sealed record DrillBudget(TimeSpan MaxStall, long MaxBytesLost = 0, int MaxConnectionsDropped = 0)
{
    /// <summary>The step that tells whether it was kept, and every limit that was not.</summary>
    public DrillStep Judge(FailoverCost? cost)
    {
        var breaches = cost is null ? ["no failover was measured"] : Breaches(cost).ToArray();
        var kept = cost is null ? "" : Format($"stall {cost.StallMs:0.#} ms of {MaxStall.TotalMilliseconds:0.#} ms, ")
            + Format($"{cost.BytesLost} bytes lost, {cost.ConnectionsDropped} connections dropped");
        return new DrillStep("budget", breaches.Length == 0, 0, breaches.Length == 0 ? kept : string.Join("; ", breaches));
    }

    private IEnumerable<string> Breaches(FailoverCost cost)
    {
        // Written so that a stall that is no number is a breach.
        if (!(cost.StallMs <= MaxStall.TotalMilliseconds))
        {
            yield return Format($"stalled {cost.StallMs:0.#} ms: the budget is {MaxStall.TotalMilliseconds:0.#} ms");
        }

        if (cost.BytesLost > MaxBytesLost)
        {
            yield return Format($"lost {cost.BytesLost} bytes: the budget is {MaxBytesLost}");
        }

        if (cost.ConnectionsDropped > MaxConnectionsDropped)
        {
            yield return Format($"dropped {cost.ConnectionsDropped} connections: the budget is {MaxConnectionsDropped}");
        }
    }

    private static string Format(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
