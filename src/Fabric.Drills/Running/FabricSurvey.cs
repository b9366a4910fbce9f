using System.Collections.Concurrent;
using Fabric.Drills.Guards;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Topology.Model;

namespace Fabric.Drills.Running;

/// <summary>The running fabric, as guards want it, and the clocks of its gateways.</summary>
public sealed record FabricSurvey(FabricView View, IReadOnlyDictionary<string, GatewayClock> Clocks)
{
    /// <summary>Between the two looks at the counters that give the loads.</summary>
    private static readonly TimeSpan Apart = TimeSpan.FromSeconds(1);

    /// <summary>Asks every gateway of the topology at once. Throws <see cref="GrpcException"/> when the own gateway cannot be asked; others may be silent.</summary>
    /// <param name="holder">Another run that is under way on this host, or empty.</param>
    public static async Task<FabricSurvey> TakeAsync(
        FabricClient client, FabricTopology topology, string holder, TimeProvider time, CancellationToken cancellationToken)
    {
        var (first, began) = (await client.StatusAsync(cancellationToken), time.GetTimestamp());
        var clocks = new ConcurrentDictionary<string, GatewayClock>();
        var silent = new ConcurrentDictionary<string, string>();
        await Task.WhenAll(topology.Sites.SelectMany(s => s.Gateways).Select(g => g.Name).Append(first.Gateway).Distinct().Select(async gateway =>
        {
            try
            {
                clocks[gateway] = await GatewayClock.MeasureAsync(client, gateway == first.Gateway ? "" : gateway, time, cancellationToken) with { Gateway = gateway };
            }
            catch (GrpcException e)
            {
                silent[gateway] = e.Status == GrpcStatus.PermissionDenied ? $"it does not allow faults: {e.Detail}" : e.Detail;
            }
        }));
        if (Apart - time.GetElapsedTime(began) is { Ticks: > 0 } wait)
        {
            await Task.Delay(wait, time, cancellationToken);
        }

        var status = await client.StatusAsync(cancellationToken);
        var view = new FabricView(topology, status, clocks.ToDictionary(c => c.Key, c => c.Value.Last), silent,
            Loads(first, status, time.GetElapsedTime(began)), time.GetUtcNow(), holder);
        return new FabricSurvey(view, clocks);
    }

    /// <summary>Bits a second by gateway; one whose counters began anew is left out.</summary>
    private static Dictionary<string, double> Loads(Status first, Status second, TimeSpan between)
    {
        var before = first.Sites.SelectMany(s => s.Gateways).ToDictionary(g => g.Name, g => g.BytesSent + g.BytesReceived);
        return second.Sites.SelectMany(s => s.Gateways).Where(g => g.State != "self" && before.ContainsKey(g.Name) && g.BytesSent + g.BytesReceived >= before[g.Name])
            .ToDictionary(g => g.Name, g => 8 * (g.BytesSent + g.BytesReceived - before[g.Name]) / between.TotalSeconds);
    }
}
