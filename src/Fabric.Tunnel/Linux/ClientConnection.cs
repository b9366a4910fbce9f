using System.Net;
using System.Net.Sockets;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// A connection to a service address: asks ingress, tries its routes in order, carries. It begins on the loop that accepted it and moves to
/// the loop of the session that takes it.
/// </summary>
internal sealed class ClientConnection : SocketCarrier
{
    private readonly ServiceListener _listener;
    private readonly IPEndPoint _client;
    private readonly TimeSpan _began;
    private LoopTimeout? _timeout;
    private IngressPlan? _plan;
    private int _route = -1;
    private StreamCode _code = StreamCode.NoEndpoint;
    private string _reason = "no route";
    private StreamSummary? _summary;
    private volatile bool _opened;
    private (StreamCode Code, string Reason)? _failed;

    public ClientConnection(EventLoop loop, GatewayTunnel tunnel, ServiceListener listener, int descriptor, IPEndPoint client)
        : base(loop, tunnel)
    {
        (_listener, _client, _began) = (listener, client, tunnel.Now);
        Descriptor = descriptor;
    }

    private IngressRoute Route => _plan!.Routes[_route];

    /// <summary>The first turn.</summary>
    public void Begin()
    {
        var planning = Tunnel.Options.Ingress.PlanAsync(_listener, _client, Tunnel.Stopping);
        if (planning.IsCompletedSuccessfully)
        {
            _plan = planning.Result;
            Loop.Schedule(this);
        }
        else
        {
            _ = PlanLaterAsync(planning);
        }
    }

    private async Task PlanLaterAsync(ValueTask<IngressPlan> planning)
    {
        try
        {
            _plan = await planning.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            _plan = new IngressPlan([], error.Message);
        }

        Loop.Schedule(this);
    }

    protected override void Prepare()
    {
        if (_plan is null)
        {
            return;
        }

        if (Core is not { } core)
        {
            // Later turns without a stream are leftovers: the next route is opened on another loop, or served here.
            if (_route < 0)
            {
                TryNext();
            }

            return;
        }

        (StreamCode Code, string Reason)? refused = null;
        lock (Session!.Gate)
        {
            if (!_opened && (core.IsReset || _failed is not null))
            {
                refused = core.IsReset ? (core.Code, core.Reason) : _failed;
                core.Reset(StreamCode.ApplicationReset, "given up", Session.Now);
                Session.OpeningIsOver(this);
            }
            else if (_opened)
            {
                Session.OpeningIsOver(this);
            }
        }

        if (refused is { } why)
        {
            DisarmTimeout();
            core.Owner = null;
            Core = null;
            Refused(why.Code, why.Reason);
        }
        else if (_opened)
        {
            DisarmTimeout();
            Carry();
        }
    }

    private void Refused(StreamCode code, string reason)
    {
        (_code, _reason) = (code, reason);
        StreamSpans.Refused(Route, code, reason);
        if (ServiceServer.MayTryNext(code))
        {
            TryNext();
        }
        else
        {
            Refuse();
        }
    }

    private void TryNext()
    {
        if (_route < 0)
        {
            _reason = _plan!.Refusal ?? _reason;
        }

        if (++_route >= _plan!.Routes.Length)
        {
            Refuse();
            return;
        }

        if (Route.Peer is not { } peer)
        {
            _ = ServeLocallyAsync();
            return;
        }

        try
        {
            Session = Tunnel.SessionFor(peer, Route.Open);
            var loop = LinuxDriver.LoopOf(Session);
            if (loop != Loop)
            {
                MoveTo(loop);
                loop.Post(Open);
            }
            else
            {
                Open();
            }
        }
        catch (StreamRefusedException refused)
        {
            Refused(refused.Code, refused.Reason);
        }
    }

    private void Open()
    {
        try
        {
            _failed = null;
            Core = Session!.Open(Route.Open, this, waits: _route == _plan!.Routes.Length - 1);
            _timeout = new LoopTimeout(TimedOut);
            Loop.Timers.Add(_timeout, Tunnel.Options.Limits.OpenTimeout);
        }
        catch (StreamRefusedException refused)
        {
            Refused(refused.Code, refused.Reason);
        }
    }

    private void TimedOut()
    {
        lock (Session!.Gate)
        {
            Core!.Reset(StreamCode.TimedOut, "no answer to OPEN", Session.Now);
        }
    }

    private void DisarmTimeout()
    {
        if (_timeout is not null)
        {
            Loop.Timers.Remove(_timeout);
            _timeout = null;
        }
    }

    /// <summary>This gateway's own egress serves it, without a session: on the thread pool.</summary>
    private async Task ServeLocallyAsync()
    {
        var socket = new Socket(new SafeSocketHandle(Descriptor, ownsHandle: true));
        try
        {
            _summary = await Tunnel.Ingress.ServeLocallyAsync(Route.Open, socket, _began).ConfigureAwait(false);
            Descriptor = -1;
            socket.Dispose();
        }
        catch (StreamRefusedException refused)
        {
            // Nothing was read of it yet: another may have it.
            socket.SafeHandle.SetHandleAsInvalid();
            Loop.Post(() => Refused(refused.Code, refused.Reason));
            return;
        }
        catch (Exception error)
        {
            Descriptor = -1;
            Sockets.Abort(socket);
            _summary = new StreamSummary(_listener.Service, null, null, StreamCode.ApplicationReset, error.Message, 0, 0, Tunnel.Now - _began);
        }

        Loop.Post(Over);
    }

    private void Refuse()
    {
        CloseSocket(abort: true);
        Core = null;
        Over();
    }

    public override void OnOpened()
    {
        _opened = true;
        Loop.Schedule(this);
    }

    public override void OnOpenFailed(StreamCode code, string reason)
    {
        _failed = (code, reason);
        Loop.Schedule(this);
    }

    protected override void Ended()
    {
        var plan = _plan!;
        var summary = _summary ?? (Core is { } core
            ? new StreamSummary(Route.Open.Service, Session!.Peer, null, core.Code, core.Reason, BytesUp, BytesDown, Tunnel.Now - _began)
            : new StreamSummary(_listener.Service, plan.Routes.Length > 0 ? plan.Routes[^1].Peer : null, null, _code, _reason, 0, 0, Tunnel.Now - _began));
        Tunnel.Ingress.Leave();
        Tunnel.Told(() => Tunnel.Options.Ingress.Ended(plan, summary));
    }

    public override void Stop()
    {
        base.Stop();
        Over();
    }
}
