using System.Net;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// What one client address sends to one service port. Its first datagrams wait until a route has taken the flow; a flow that was
/// refused stays for a second, so that a client that goes on does not ask everyone again with each datagram.
/// </summary>
internal sealed class ClientFlow(GatewayTunnel tunnel, DatagramListener listener, SocketAddress client, FlowTable table)
    : Flow(tunnel, listener.Service.FlowIdle)
{
    /// <summary>Datagrams that wait until the flow is open.</summary>
    public const int MostWaiting = 16;

    private static readonly TimeSpan _refusalHolds = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly DatagramQueue _waiting = new(tunnel.Pool, MostWaiting);
    private volatile IDatagramSink? _far;
    private State _state;
    private string? _reason;

    /// <summary>What this gateway's own egress is asked for, from before it decides; null while it serves nothing of the flow.</summary>
    private StreamOpen? _local;
    private EgressVerdict.Refuse? _refusal;

    private enum State
    {
        Opening,
        Open,
        Refused,
        Ended,
    }

    public SocketAddress Client => client;

    public override void ToEndpoint(ReadOnlySpan<byte> datagram)
    {
        if (_far is null && !Wait(datagram))
        {
            return;
        }

        table.Touch(this);
        if (_far is { } far)
        {
            CountToEndpoint(datagram.Length);
            far.Send(datagram);
        }
    }

    /// <summary>False when the datagram was dropped; else it waits, unless the flow has just opened.</summary>
    private bool Wait(ReadOnlySpan<byte> datagram)
    {
        lock (_lock)
        {
            switch (_state)
            {
                case State.Opening when Tunnel.Pool.Budget.IsTight:
                    Tunnel.Datagrams.Drop(DatagramDrop.Memory);
                    return false;
                case State.Opening:
                    Tunnel.Datagrams.Drop(DatagramDrop.QueueFull, _waiting.Add(datagram));
                    return false;
                case State.Open:
                    return true;
                default:
                    Tunnel.Datagrams.Drop(_state == State.Refused ? DatagramDrop.Refused : DatagramDrop.Late);
                    return false;
            }
        }
    }

    public override void ToClient(ReadOnlySpan<byte> datagram)
    {
        CountToClient(datagram.Length);
        table.Touch(this);
        listener.SendTo(datagram, client);
    }

    /// <summary>A route took the flow: what waited goes first. False when it ended meanwhile.</summary>
    private bool TryJoin(IDatagramSink far)
    {
        lock (_lock)
        {
            if (_state != State.Opening)
            {
                return false;
            }

            while (_waiting.TryTake(out var datagram))
            {
                CountToEndpoint(datagram.Length);
                far.Send(datagram.Span);
                datagram.Release();
            }

            _state = State.Open;
            _far = far;
            return true;
        }
    }

    public override void End(string reason)
    {
        IDatagramSink? far;
        lock (_lock)
        {
            _reason ??= reason;
            _state = State.Ended;
            far = _far;
            _waiting.Clear();
        }

        listener.Forget(this);
        (far as TunnelFlow)?.Close();
        (far as EndpointSocket)?.Dispose();
    }

    public override bool Review(IEgress egress)
    {
        StreamOpen? local;
        lock (_lock)
        {
            local = _state is State.Opening or State.Open ? _local : null;
        }

        if (local is null || egress.Review(null, local) is not { } refusal)
        {
            return false;
        }

        lock (_lock)
        {
            if (_state == State.Ended || _local != local)
            {
                // Over, or refused here meanwhile and served by another.
                return false;
            }

            _refusal = refusal;
        }

        // Out of the table as well: the next datagram opens another, which egress decides.
        table.Remove(this);
        End(refusal.Reason);
        return true;
    }

    /// <summary>From the first datagram to the end.</summary>
    public async Task ServeAsync(EndpointFlows endpoints)
    {
        var ingress = Tunnel.Options.Ingress;
        IngressPlan? plan = null;
        StreamSummary? summary = null;
        var (code, reason) = (StreamCode.NoEndpoint, "no route");
        try
        {
            plan = await ingress.PlanAsync(listener.Service, (IPEndPoint)Address(client), Tunnel.Stopping).ConfigureAwait(false);
            reason = plan.Refusal ?? reason;
            foreach (var route in plan.Routes)
            {
                try
                {
                    summary = route.Peer is null
                        ? await ServeLocallyAsync(route.Open, endpoints).ConfigureAwait(false)
                        : await ServeThroughAsync(route.Peer, route.Open).ConfigureAwait(false);
                    break;
                }
                catch (StreamRefusedException refused)
                {
                    (code, reason) = (refused.Code, refused.Reason);
                    if (code is StreamCode.PolicyDenied or StreamCode.ApplicationReset or StreamCode.ProtocolError)
                    {
                        break;
                    }
                }
            }
        }
        catch (OperationCanceledException)
        {
            (code, reason) = (StreamCode.Draining, "the gateway is stopping");
        }

        summary ??= Summary(plan is { Routes: [.., var last] } ? last.Peer : null, null, code, reason);
        if (plan is not null)
        {
            Tunnel.Told(() => ingress.Ended(plan, summary));
        }

        await RefuseAsync().ConfigureAwait(false);
        table.Remove(this);
        End(summary.Reason);
    }

    /// <summary>Of a flow that was opened, nothing is held: the client's next datagram opens another.</summary>
    private async Task RefuseAsync()
    {
        lock (_lock)
        {
            if (_state != State.Opening)
            {
                return;
            }

            Tunnel.Datagrams.Drop(DatagramDrop.Refused, _waiting.Count);
            _waiting.Clear();
            _state = State.Refused;
        }

        await Task.WhenAny(Task.Delay(_refusalHolds, Tunnel.Options.Time, Tunnel.Stopping)).ConfigureAwait(false);
    }

    private async Task<StreamSummary> ServeThroughAsync(string peer, StreamOpen open)
    {
        var flow = await Tunnel.OpenFlowAsync(peer, open, Tunnel.Stopping).ConfigureAwait(false);
        await using (flow.ConfigureAwait(false))
        {
            if (TryJoin(flow))
            {
                while (await flow.WaitAsync().ConfigureAwait(false))
                {
                    while (flow.TryTake(out var datagram))
                    {
                        ToClient(datagram.Span);
                        datagram.Release();
                    }
                }
            }

            return Summary(peer, null, flow.Code, flow.Reason);
        }
    }

    private async Task<StreamSummary> ServeLocallyAsync(StreamOpen open, EndpointFlows endpoints)
    {
        IsLocal(open);
        try
        {
            return await CarryLocallyAsync(open, endpoints).ConfigureAwait(false);
        }
        finally
        {
            IsLocal(null);
        }
    }

    private void IsLocal(StreamOpen? open)
    {
        lock (_lock)
        {
            _local = open;
        }
    }

    private async Task<StreamSummary> CarryLocallyAsync(StreamOpen open, EndpointFlows endpoints)
    {
        var (socket, _) = await endpoints.ConnectAsync(null, open).ConfigureAwait(false);
        using (socket)
        {
            var failure = TryJoin(socket) ? await socket.RunAsync(this).ConfigureAwait(false) : null;
            var egress = Tunnel.Options.Egress;
            if (failure is not null)
            {
                Tunnel.Told(() => egress.DialFailed(open, socket.Endpoint, failure));
            }

            var code = _refusal?.Code ?? (failure is null ? StreamCode.Ok : StreamCode.NoEndpoint);
            var summary = Summary(null, socket.Endpoint, code, _refusal?.Reason ?? failure ?? "");
            Tunnel.Told(() => egress.Ended(null, open, summary));
            return summary;
        }
    }

    private StreamSummary Summary(string? peer, IPEndPoint? endpoint, StreamCode code, string reason) => new(
        listener.Service.Service, peer, endpoint, code, reason.Length > 0 ? reason : _reason ?? "", BytesToEndpoint, BytesToClient,
        Tunnel.Now - Began);

    private static EndPoint Address(SocketAddress address) =>
        new IPEndPoint(address.Family == System.Net.Sockets.AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0).Create(address);
}
