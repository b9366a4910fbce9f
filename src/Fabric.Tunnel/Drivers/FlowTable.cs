namespace Fabric.Tunnel.Drivers;

/// <summary>Takes datagrams, and never waits: what cannot go on is dropped and counted.</summary>
internal interface IDatagramSink
{
    void Send(ReadOnlySpan<byte> datagram);
}

/// <summary>A flow at this gateway: between a client's address and the tunnel or an endpoint, or between the tunnel and an endpoint.</summary>
internal abstract class Flow(GatewayTunnel tunnel, TimeSpan idle)
{
    protected GatewayTunnel Tunnel { get; } = tunnel;

    /// <summary>Without a datagram for this long it is over.</summary>
    public TimeSpan Idle { get; } = idle;

    public TimeSpan LastActive { get; set; } = tunnel.Now;

    /// <summary>Its place in the table; only the table changes it.</summary>
    public LinkedListNode<Flow>? Place { get; set; }

    public TimeSpan Began { get; } = tunnel.Now;

    public long BytesToEndpoint { get; private set; }

    public long BytesToClient { get; private set; }

    protected void CountToEndpoint(int bytes)
    {
        BytesToEndpoint += bytes;
        Tunnel.Datagrams.ToEndpoint(bytes);
    }

    protected void CountToClient(int bytes)
    {
        BytesToClient += bytes;
        Tunnel.Datagrams.ToClient(bytes);
    }

    /// <summary>A datagram on its way to the endpoint.</summary>
    public abstract void ToEndpoint(ReadOnlySpan<byte> datagram);

    /// <summary>A datagram on its way to the client.</summary>
    public abstract void ToClient(ReadOnlySpan<byte> datagram);

    /// <summary>Ends it in order. Called outside of locks, once or more.</summary>
    public abstract void End(string reason);

    /// <summary>Ends it when this gateway's egress serves it without a session, and refuses it now. Whether it did.</summary>
    public virtual bool Review(IEgress egress) => false;
}

/// <summary>
/// Flows in the order of their last datagram: those that are idle end, and at the limit the one that is idle the longest makes room,
/// if that is more than a second. Safe to call from any thread.
/// </summary>
internal sealed class FlowTable : IDisposable
{
    /// <summary>Only a flow that is idle for longer makes room for a new one.</summary>
    private static readonly TimeSpan _mayGo = TimeSpan.FromSeconds(1);

    /// <summary>A gateway that drains does not wait longer for a flow to say something.</summary>
    private static readonly TimeSpan _drainingIdle = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan _period = TimeSpan.FromMilliseconds(250);

    private readonly GatewayTunnel _tunnel;
    private readonly LinkedList<Flow> _flows = new();
    private readonly Lock _lock = new();
    private readonly ITimer _timer;
    private TimeSpan _leastIdle = _drainingIdle;

    public FlowTable(GatewayTunnel tunnel)
    {
        _tunnel = tunnel;
        _timer = tunnel.Options.Time.CreateTimer(static s => ((FlowTable)s!).Sweep(), this, _period, _period);
    }

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _flows.Count;
            }
        }
    }

    /// <summary>False when the table is full of flows that are not idle.</summary>
    public bool TryAdd(Flow flow)
    {
        Flow? oldest = null;
        lock (_lock)
        {
            if (_flows.Count >= _tunnel.Options.Limits.MaxFlows)
            {
                oldest = _flows.First!.Value;
                if (_tunnel.Now - oldest.LastActive <= _mayGo)
                {
                    return false;
                }

                Unlink(oldest);
            }

            _leastIdle = flow.Idle < _leastIdle ? flow.Idle : _leastIdle;
            flow.Place = _flows.AddLast(flow);
        }

        _tunnel.Datagrams.FlowBegan();
        oldest?.End("idle the longest when another flow needed its place");
        return true;
    }

    /// <summary>It carried a datagram now.</summary>
    public void Touch(Flow flow)
    {
        lock (_lock)
        {
            flow.LastActive = _tunnel.Now;
            if (flow.Place is { } place && place != _flows.Last)
            {
                _flows.Remove(place);
                _flows.AddLast(place);
            }
        }
    }

    public void Remove(Flow flow)
    {
        lock (_lock)
        {
            Unlink(flow);
        }
    }

    private void Unlink(Flow flow)
    {
        if (flow.Place is { } place)
        {
            _flows.Remove(place);
            flow.Place = null;
        }
    }

    private void Sweep()
    {
        List<Flow>? ended = null;
        lock (_lock)
        {
            var now = _tunnel.Now;
            for (var place = _flows.First; place is not null && now - place.Value.LastActive >= _leastIdle;)
            {
                var flow = place.Value;
                place = place.Next;
                if (now - flow.LastActive >= (_tunnel.IsDraining && flow.Idle > _drainingIdle ? _drainingIdle : flow.Idle))
                {
                    Unlink(flow);
                    (ended ??= []).Add(flow);
                }
            }
        }

        foreach (var flow in ended ?? [])
        {
            flow.End($"no datagram for {flow.Idle.TotalSeconds:0.###} s");
        }
    }

    /// <inheritdoc cref="ITunnel.Review"/>
    public int Review(IEgress egress) => All().Count(f => f.Review(egress));

    public void Dispose()
    {
        _timer.Dispose();
        foreach (var flow in All())
        {
            flow.End("the gateway is stopping");
        }
    }

    private Flow[] All()
    {
        lock (_lock)
        {
            return [.. _flows];
        }
    }
}
