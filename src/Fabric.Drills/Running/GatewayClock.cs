using Fabric.Drills.Reports;
using Fabric.Protocol.Proto;

namespace Fabric.Drills.Running;

/// <summary>
/// How far a gateway's clock is ahead of the controller's. Of several questions the one with the least round trip decides: the answer was given somewhere
/// within it, so half of it is the most that the estimate can be wrong (Cristian, <i>Probabilistic Clock Synchronization</i>, 1989).
/// </summary>
public sealed record GatewayClock(string Gateway, TimeSpan Ahead, TimeSpan Uncertain, FaultList Last)
{
    private const int Rounds = 5;

    /// <summary>Throws <see cref="Protocol.Grpc.GrpcException"/> when the gateway cannot be asked.</summary>
    public static async Task<GatewayClock> MeasureAsync(FabricClient client, string gateway, TimeProvider time, CancellationToken cancellationToken)
    {
        GatewayClock? best = null;
        for (var round = 0; round < Rounds; round++)
        {
            var (asked, began) = (time.GetUtcNow(), time.GetTimestamp());
            var answer = await client.ListAsync(gateway, cancellationToken);
            var half = time.GetElapsedTime(began) / 2;
            if (best is null || half < best.Uncertain)
            {
                best = new GatewayClock(gateway, Instant(answer.NowUnixUs) - (asked + half), half, answer);
            }
        }

        return best!;
    }

    /// <summary>An instant of the gateway's clock, on the controller's.</summary>
    public DateTimeOffset ToController(long unixUs) => Instant(unixUs) - Ahead;

    public ClockOffset ToOffset() => new(Gateway, Ahead.TotalMilliseconds, Uncertain.TotalMilliseconds);

    /// <summary>Numbers that are no instant come from a gateway that is not well: they stand for the edges of time.</summary>
    private static DateTimeOffset Instant(long unixUs) =>
        DateTimeOffset.UnixEpoch.AddMicroseconds(Math.Clamp(unixUs, 0, 4_102_444_800_000_000));
}
