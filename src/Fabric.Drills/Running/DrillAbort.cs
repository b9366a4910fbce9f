using Fabric.Protocol.Grpc;

namespace Fabric.Drills.Running;

/// <summary>What an abort did at one gateway.</summary>
/// <param name="Reverted">Faults that were in force there, as "link-down of dx (cut-dx-20261127T154200Z)".</param>
/// <param name="Problem">Empty when the gateway says that nothing is in force.</param>
/// <param name="Until">When what is in force there ends by itself, as far as it is known.</param>
public sealed record AbortAnswer(string Gateway, IReadOnlyList<string> Reverted, string Problem, DateTimeOffset? Until);

/// <summary>Takes back, at every gateway that can be reached, what a run has in force, or what any has.</summary>
public static class DrillAbort
{
    private const int Attempts = 3;

    /// <summary>
    /// Throws <see cref="GrpcException"/> when the own gateway cannot be asked at all.
    /// </summary>
    /// <param name="drill">Id of the run; empty: all that is in force.</param>
    /// <param name="more">Gateways besides those that the own one knows.</param>
    public static async Task<IReadOnlyList<AbortAnswer>> RunAsync(
        FabricClient client, string drill, IEnumerable<string> more, TimeProvider time, CancellationToken cancellationToken)
    {
        var status = await client.StatusAsync(cancellationToken);
        var gateways = status.Sites.SelectMany(s => s.Gateways).Select(g => g.Name).Append(status.Gateway).Concat(more).Distinct().Order(StringComparer.Ordinal);
        return await Task.WhenAll(gateways.Select(g => AtAsync(client, g, g == status.Gateway ? "" : g, drill, time, cancellationToken)));
    }

    private static async Task<AbortAnswer> AtAsync(
        FabricClient client, string gateway, string asked, string drill, TimeProvider time, CancellationToken cancellationToken)
    {
        IReadOnlyList<string> reverted = [];
        DateTimeOffset? until = null;
        for (var attempt = 1; ; attempt++)
        {
            string problem;
            try
            {
                if (attempt == 1)
                {
                    var clock = await GatewayClock.MeasureAsync(client, asked, time, cancellationToken);
                    var inForce = clock.Last.Faults.Where(f => f.State == "in-force" && (drill.Length == 0 || f.Fault.Drill == drill)).ToArray();
                    reverted = [.. inForce.Select(f => $"{f.Fault.Kind}{(f.Fault.Link.Length > 0 ? $" of {f.Fault.Link}" : f.Fault.Service.Length > 0 ? $" of {f.Fault.Service}" : "")} ({f.Fault.Drill})")];
                    until = inForce.Length == 0 ? null : inForce.Max(f => clock.ToController(f.AppliedUnixUs) + TimeSpan.FromMilliseconds(f.Fault.DurationMs));
                }

                var answer = await client.RevertAsync(asked, drill, cancellationToken);
                var left = answer.Faults.Where(f => (drill.Length == 0 || f.Fault.Drill == drill) && (f.State is "in-force" or "revert-failed")).ToArray();
                if (left.Length == 0)
                {
                    return new AbortAnswer(gateway, reverted, "", null);
                }

                problem = string.Join("; ", left.Select(f => $"{f.Fault.Kind} is {f.State}{(f.Ended.Length > 0 ? $": {f.Ended}" : "")}"));
            }
            catch (GrpcException e) when (e.Status == GrpcStatus.PermissionDenied)
            {
                // Where no faults are allowed, none are.
                return new AbortAnswer(gateway, [], "", null);
            }
            catch (GrpcException e)
            {
                problem = $"cannot be asked: {e.Detail}";
            }

            if (attempt == Attempts)
            {
                return new AbortAnswer(gateway, reverted, problem, until);
            }

            await Task.Delay(TimeSpan.FromMilliseconds(500), time, cancellationToken);
        }
    }
}
