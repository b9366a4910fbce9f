using System.Collections.Concurrent;
using Fabric.Drills.Definition;
using Fabric.Drills.Reports;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Drills.Running;

/// <summary>
/// The faults of one run: applies them, keeps their leases, and takes all of them back. A gateway ends a fault itself when its time is up, and when this
/// controller has not renewed it for <see cref="RenewWithin"/>: so nothing stays when the controller dies.
/// </summary>
internal sealed class FaultKeeper(
    FabricClient client, string run, string self, IReadOnlyDictionary<string, GatewayClock> clocks, TimeProvider time)
{
    public static readonly TimeSpan RenewWithin = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(250);

    private readonly ConcurrentDictionary<string, Fault> _faults = new();
    private int _number;
    private bool _reverting;

    public IReadOnlyList<Fault> Faults => [.. _faults.Values.OrderBy(f => f.Number)];

    /// <summary>Another drill that a gateway has faults of in force; empty while there is none.</summary>
    public string Other { get; private set; } = "";

    /// <summary>Where somebody else has reverted what this run did; empty while nobody has.</summary>
    public string Undone { get; private set; } = "";

    /// <summary>The latest moment until which something may be in force at the gateway, when it cannot be asked.</summary>
    public DateTimeOffset LeaseEnd(string gateway) => Faults.Where(f => f.Target.Gateway == gateway).Max(f => f.Ends);

    /// <summary>Throws <see cref="GrpcException"/>; whatever may have been done is then reverted with the rest.</summary>
    /// <param name="renewed">Whether the gateway can be asked while it is in force.</param>
    public async Task ApplyAsync(Target target, bool renewed, CancellationToken cancellationToken)
    {
        var number = Interlocked.Increment(ref _number);
        var spec = Spec(target, $"{run}-{number}", renewed);
        var fault = new Fault(number, target, spec, time.GetUtcNow() + TimeSpan.FromMilliseconds(spec.DurationMs) + TimeSpan.FromSeconds(10));

        // Known before it is asked for: an answer that is lost must not make it forgotten.
        _faults[spec.Id] = fault;
        Take(target.Gateway, await client.ApplyAsync(Name(target.Gateway), spec, cancellationToken));
        fault.Applied ??= time.GetUtcNow();
    }

    /// <summary>At every gateway with something in force that is renewed. What fails is seen by what the lease does.</summary>
    public Task RenewAsync(CancellationToken cancellationToken) => Task.WhenAll(
        Faults.Where(f => f.Spec.RenewWithinMs > 0 && f.Reverted is null).Select(f => f.Target.Gateway).Distinct().Select(async gateway =>
        {
            try
            {
                Take(gateway, await client.RenewAsync(Name(gateway), run, cancellationToken));
            }
            catch (GrpcException)
            {
            }
        }));

    /// <summary>
    /// Everywhere at once, again and again until each gateway says that nothing is in force, or the limit has passed. Takes no cancellation: what was done
    /// must be undone. Returns the gateways that are not sure.
    /// </summary>
    public async Task<IReadOnlyList<string>> RevertAsync(TimeSpan limit)
    {
        _reverting = true;
        var began = time.GetTimestamp();
        var left = await Task.WhenAll(Faults.Select(f => f.Target.Gateway).Distinct().Select(async gateway =>
        {
            while (true)
            {
                try
                {
                    var answer = await client.RevertAsync(Name(gateway), run, CancellationToken.None);
                    Take(gateway, answer);
                    if (!answer.Faults.Any(f => f.Fault.Drill == run && (f.State is "in-force" or "revert-failed")))
                    {
                        foreach (var fault in Faults.Where(f => f.Target.Gateway == gateway))
                        {
                            fault.Sure = true;
                            fault.Reverted ??= time.GetUtcNow();
                        }

                        return null;
                    }
                }
                catch (GrpcException)
                {
                }

                if (time.GetElapsedTime(began) >= limit)
                {
                    return gateway;
                }

                await Task.Delay(Again, time, CancellationToken.None);
            }
        }));
        return [.. left.OfType<string>()];
    }

    public IReadOnlyList<DrillActionRecord> Records() => [.. Faults.Select(f => new DrillActionRecord(
        f.Target.Action, f.Target.Gateway, f.Means, f.Applied, f.Reverted, f.Ended, f.Sure))];

    private string Name(string gateway) => gateway == self ? "" : gateway;

    private void Take(string gateway, FaultList answer)
    {
        foreach (var state in answer.Faults)
        {
            if (state.Fault.Drill != run)
            {
                Other = state.State == "in-force" ? $"{state.Fault.Drill} at {gateway}" : Other;
            }
            else if (_faults.TryGetValue(state.Fault.Id, out var fault))
            {
                fault.Means = state.Means;
                fault.Applied = state.AppliedUnixUs > 0 ? clocks[gateway].ToController(state.AppliedUnixUs) : fault.Applied;
                fault.Reverted = state.State == "reverted" && state.RevertedUnixUs > 0 ? clocks[gateway].ToController(state.RevertedUnixUs) : fault.Reverted;
                fault.Ended = state.Ended;
                Undone = state.State == "reverted" && state.Ended == "asked" && !_reverting ? gateway : Undone;
            }
        }
    }

    private FaultSpec Spec(Target target, string id, bool renewed)
    {
        var a = target.Action;
        return new FaultSpec
        {
            Id = id,
            Drill = run,
            Kind = a.Kind,
            Link = a.Link,
            Peer = a.Peer,
            Direction = a.Direction,
            Service = a.Service,
            DelayMs = (uint)a.DelayMs,
            JitterMs = (uint)a.JitterMs,
            LossPercent = a.LossPercent,
            BitsPerSecond = (ulong)a.BitsPerSecond,
            DownMs = (uint)a.DownMs,
            UpMs = (uint)a.UpMs,
            DurationMs = (uint)a.Duration.TotalMilliseconds,
            RenewWithinMs = renewed ? (uint)RenewWithin.TotalMilliseconds : 0,
            Means = a.Means,
        };
    }

    internal sealed class Fault(int number, Target target, FaultSpec spec, DateTimeOffset ends)
    {
        public int Number => number;
        public Target Target => target;
        public FaultSpec Spec => spec;

        /// <summary>By its lease, with what asking for it may have taken.</summary>
        public DateTimeOffset Ends => ends;
        public string Means { get; set; } = "";
        public DateTimeOffset? Applied { get; set; }
        public DateTimeOffset? Reverted { get; set; }
        public string Ended { get; set; } = "";

        /// <summary>The gateway has said that nothing of the run is in force.</summary>
        public bool Sure { get; set; }
    }
}
