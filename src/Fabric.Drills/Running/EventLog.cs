using Fabric.Drills.Reports;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Drills.Running;

/// <summary>
/// What the gateways say while the drill runs, on the controller's clock. A gateway that breaks off is asked again from where it was. At most
/// <see cref="Limit"/> events are kept: later ones are counted, and not kept.
/// </summary>
internal sealed class EventLog(FabricClient client, TimeProvider time)
{
    public const int Limit = 10_000;
    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(500);

    private readonly object _lock = new();
    private readonly List<DrillEvent> _events = [];
    private readonly HashSet<GatewayEvent> _seen = [];

    /// <summary>Not kept because there were too many.</summary>
    public int Dropped { get; private set; }

    public IReadOnlyList<DrillEvent> Events()
    {
        lock (_lock)
        {
            return [.. _events.OrderBy(e => e.At)];
        }
    }

    /// <summary>Links that some gateway said are down, and has not said are up again: "dx at virginia-1".</summary>
    public IReadOnlyList<string> Down(string link)
    {
        lock (_lock)
        {
            return [.. _events.Where(e => e.Link == link && (e.Kind is "link-down" or "link-up")).GroupBy(e => (e.Gateway, e.Peer))
                .Where(g => g.MaxBy(e => e.At)!.Kind == "link-down").Select(g => $"{link} to {g.Key.Peer} at {g.Key.Gateway}")];
        }
    }

    /// <summary>Until cancelled.</summary>
    public async Task FollowAsync(GatewayClock clock, CancellationToken cancellationToken)
    {
        var since = clock.Last.NowUnixUs;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                await foreach (var e in client.EventsAsync(clock.Gateway, since, cancellationToken))
                {
                    since = Math.Max(since, e.TimeUnixUs);
                    Add(clock, e);
                }
            }
            catch (Exception e) when (e is GrpcException or OperationCanceledException)
            {
            }

            try
            {
                await Task.Delay(Again, time, cancellationToken);
            }
            catch (OperationCanceledException)
            {
            }
        }
    }

    private void Add(GatewayClock clock, GatewayEvent e)
    {
        lock (_lock)
        {
            if (_events.Count == Limit)
            {
                Dropped++;
            }
            else if (_seen.Add(e))
            {
                _events.Add(new DrillEvent(clock.ToController(e.TimeUnixUs), clock.Gateway, e.Kind, e.Link, e.Peer, e.Service, e.DetectionMs, e.PauseMs, e.Text));
            }
        }
    }
}
