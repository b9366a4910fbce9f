using System.Collections.Immutable;
using Fabric.Routing.Health;
using Fabric.Simulation.Applications;
using Fabric.Simulation.Gateways;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>
/// What must come to be once all is healed: (1) every link up at both ends, every catalog true, every choice right, every call over;
/// (2) calls that begin then end in order; (3) nothing is held.
/// </summary>
internal sealed class Ending(World world)
{
    /// <summary>
    /// From the last fault to (1), and from there to (2). The longest waits in a row: a machine that is silent until its lane times out
    /// (5 s), a damped link (6 s) with its hold-down (1.5 s), a catalog that is taken for dead (5 s) and watched again (3 s).
    /// </summary>
    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan _pace = TimeSpan.FromMilliseconds(250);

    private TimeSpan _until;
    private bool _proving;

    public void Begin() => world.After(_pace, Look);

    private void Look()
    {
        if (!world.IsHealed)
        {
            world.After(_pace, Look);
            return;
        }

        _until = _until == TimeSpan.Zero ? world.Now + _limit : _until;
        var missing = Missing();
        if (missing is not null)
        {
            world.Check(world.Now < _until, $"{(_proving ? "calls of a whole fabric" : "what was healed")} did not end in {_limit.TotalSeconds} s: {missing}");
            world.After(_pace, Look);
        }
        else if (!_proving)
        {
            _proving = true;
            _until = world.Now + _limit;
            Prove();
            world.After(_pace, Look);
        }
        else
        {
            End();
        }
    }

    /// <summary>A call from each gateway, to each service that some site of its can serve.</summary>
    private void Prove()
    {
        foreach (var gateway in world.Gateways)
        {
            foreach (var service in world.Topology.Services.Where(s => Right(gateway, s).Length > 0))
            {
                world.Calls.Make(mustWork: true, gateway, service.FullName);
            }
        }
    }

    private void End()
    {
        foreach (var call in world.Calls.All)
        {
            CheckEnds(call);
        }

        foreach (var gateway in world.Gateways)
        {
            gateway.Stop();
        }

        world.Counters.Steps = world.Steps;
        world.IsOver = true;
    }

    /// <summary>Both ends of a call tell the same story, where no process and no session was lost that could have told it.</summary>
    private void CheckEnds(Call call)
    {
        var counters = world.Counters;
        if (counters.Kills == 0 && counters.SessionsLost == 0 && !call.GivesUp && call.Owner is { } server)
        {
            world.Check(call.ClientOutcome == Outcome.Orderly == (server.Outcome == Outcome.Orderly), $"one end of it was cut off: {call}");
        }
    }

    // ---- what is missing still; null: nothing

    private string? Missing()
    {
        foreach (var gateway in world.Gateways)
        {
            if ((Links(gateway) ?? Catalogs(gateway) ?? Choices(gateway) ?? Streams(gateway)) is { } missing)
            {
                return missing;
            }
        }

        return world.Calls.All.FirstOrDefault(c => !c.IsOver)?.ToString();
    }

    private string? Links(SimGateway gateway)
    {
        foreach (var link in gateway.Prober.Snapshot())
        {
            if (link.State != LinkState.Up)
            {
                return $"{gateway.Name}: link {link.Link} to {link.Peer} is {link.State}: {link.Health.Reason}";
            }

            for (var channel = 0; channel <= world.Figures.Limits.BulkLanes; channel++)
            {
                var (lane, other) = (Lane(gateway, link.Peer), Lane(world.Gateway(link.Peer), gateway.Name));
                if (lane is null || lane.Epoch != other?.Epoch || ((SimLane)lane.Owner!).IsLost)
                {
                    return $"{gateway.Name}: lane {lane?.Epoch} over {link.Link} to {link.Peer}, which has {other?.Epoch}";
                }

                LaneCore? Lane(SimGateway from, string to) => from.Tunnel.Session(to)?.Core.Session?.Lanes
                    .FirstOrDefault(l => l.Link == link.Link && l.Channel == channel);
            }

            if (gateway.Loop.Current!.Paths.GetValueOrDefault(link.Peer)?.Active is null)
            {
                return $"{gateway.Name}: no path to {link.Peer} is active";
            }
        }

        return null;
    }

    private string? Catalogs(SimGateway gateway)
    {
        foreach (var peer in world.Gateways.Where(g => g.Site != gateway.Site && world.AreReachable(gateway, g)))
        {
            var catalog = gateway.Catalogs.Of(peer.Name);
            foreach (var service in world.Topology.Services)
            {
                var (alive, all) = world.Endpoints.Count(service, peer.Plan.Site);
                var port = catalog?.Services.GetValueOrDefault(service.FullName)?.Ports[0];
                if (catalog is null || catalog.Draining || (port?.Endpoints ?? 0) != all || (port?.Healthy ?? 0) != alive)
                {
                    return $"{gateway.Name}: of {service.FullName} at {peer.Name} it knows {port?.Healthy} of {port?.Endpoints}, true is {alive} of {all}";
                }
            }
        }

        return null;
    }

    private string? Choices(SimGateway gateway)
    {
        foreach (var service in world.Topology.Services)
        {
            var choice = gateway.Loop.Current!.Choices[(service.FullName, DrawnTopology.Port)];
            var right = Right(gateway, service);
            var usable = choice.Candidates.Where(c => c.Usable).Select(c => c.Site).ToArray();
            if (!usable.Order(StringComparer.Ordinal).SequenceEqual(right.Order(StringComparer.Ordinal))
                || (right.Contains(gateway.Plan.Site) && choice.Chosen != gateway.Plan.Site))
            {
                return $"{gateway.Name}: {service.FullName} goes to {choice.Chosen} ({choice.Reason}), and can be served by {string.Join(", ", right)}";
            }
        }

        return null;
    }

    /// <summary>Sites that can serve a caller of that gateway, from what is true.</summary>
    private ImmutableArray<string> Right(SimGateway gateway, Topology.Model.Service service) =>
    [
        .. service.Exports.Select(e => e.Site).Where(site => world.Endpoints.Count(service, site).Alive > 0
            && (site == gateway.Plan.Site || world.Gateways.Any(g => g.Plan.Site == site && world.AreReachable(gateway, g)))),
    ];

    private static string? Streams(SimGateway gateway) => gateway.Tunnel.Sessions.SelectMany(s => s.Streams)
        .Where(s => !s.Request.IsReserved).Select(s => $"{gateway.Name}: a stream never ended: {SimSession.Describe(s)}").FirstOrDefault();
}
