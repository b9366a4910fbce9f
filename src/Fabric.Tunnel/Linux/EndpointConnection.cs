using System.Net;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Linux;

/// <summary>A stream that a peer opened: asks egress, dials its endpoints in order, carries.</summary>
internal sealed class EndpointConnection : SocketCarrier
{
    private readonly TimeSpan _began;
    private LoopTimeout? _timeout;
    private volatile EgressVerdict? _verdict;
    private EgressVerdict.Dial? _dial;
    private IPEndPoint? _endpoint;
    private string? _failed;
    private int _next;
    private bool _asked;
    private bool _isAsking;
    private bool _isConnecting;
    private bool _connected;
    private bool _handedOver;

    public EndpointConnection(EventLoop loop, GatewayTunnel tunnel, PeerSession session, StreamCore core)
        : base(loop, tunnel)
    {
        (Session, Core, _began) = (session, core, tunnel.Now);
    }

    private IEgress Egress => Tunnel.Options.Egress;

    public override void OnEvents(uint events)
    {
        if (_isConnecting)
        {
            if (Libc.IsHangUp(events) && Libc.PendingError(Descriptor) is var error and not 0)
            {
                // What else is told was of the socket that is gone.
                NotReached(Libc.Explain(error));
                return;
            }

            if ((events & Libc.EpollOut) != 0)
            {
                _connected = true;
            }
        }

        base.OnEvents(events);
    }

    protected override void Prepare()
    {
        if (_handedOver)
        {
            return;
        }

        if (!_asked)
        {
            _asked = true;
            Ask();
        }
        else if (Core!.IsReset && (_verdict is not null || !_isAsking))
        {
            GiveUp();
        }
        else if (_dial is null && _verdict is { } verdict)
        {
            Obey(verdict);
        }
        else if (_connected)
        {
            Accept();
        }
    }

    private void Ask()
    {
        try
        {
            var deciding = Egress.DecideAsync(Session!.Peer, Core!.Request, Tunnel.Stopping);
            if (deciding.IsCompletedSuccessfully)
            {
                Obey(deciding.Result);
            }
            else
            {
                // It counts as under way until it is decided, whatever becomes of the stream.
                _isAsking = true;
                _ = DecideLaterAsync(deciding);
            }
        }
        catch (Exception error)
        {
            Failed(error);
        }
    }

    private async Task DecideLaterAsync(ValueTask<EgressVerdict> deciding)
    {
        try
        {
            _verdict = await deciding.ConfigureAwait(false);
            Loop.Schedule(this);
        }
        catch (Exception error)
        {
            Loop.Post(() => Failed(error));
        }
    }

    private void Failed(Exception error)
    {
        _failed = error is OperationCanceledException ? "the gateway is stopping" : error.Message;
        Refuse(StreamCode.ApplicationReset, _failed);
    }

    private void Obey(EgressVerdict verdict)
    {
        switch (verdict)
        {
            case EgressVerdict.Dial when Core!.IsReset:
                GiveUp();
                break;
            case EgressVerdict.Dial { Carrier: null } dial:
                _dial = dial;
                DialNext();
                break;
            case EgressVerdict.Refuse refuse:
                Refuse(refuse.Code, refuse.Reason);
                break;
            default:
                HandOver(verdict);
                break;
        }
    }

    /// <summary>Others want it as a <see cref="Stream"/>.</summary>
    private void HandOver(EgressVerdict verdict)
    {
        TunnelStream stream;
        lock (Session!.Gate)
        {
            _handedOver = true;
            stream = TunnelStream.Of(Session, Core!);
        }

        Tunnel.Serve(stream, verdict);
    }

    private void DialNext()
    {
        if (_next >= _dial!.Endpoints.Length)
        {
            Refuse(StreamCode.NoEndpoint, $"none of {_dial.Endpoints.Length} endpoints of {Core!.Request.Service} answered");
            return;
        }

        _endpoint = _dial.Endpoints[_next++];
        Descriptor = Libc.BeginConnect(_endpoint);
        if (Descriptor < 0)
        {
            NotReached(Libc.Explain(Libc.Errno));
            return;
        }

        _isConnecting = true;
        _timeout = new LoopTimeout(() => NotReached($"no answer in {_dial.ConnectTimeout.TotalSeconds:0.###} s"));
        Loop.Timers.Add(_timeout, _dial.ConnectTimeout);
        Loop.Watch(Descriptor, this);
    }

    private void NotReached(string reason)
    {
        StopDialling();
        CloseSocket(abort: false);
        StreamSpans.NotConnected(Core!.Request, _endpoint!, reason);
        Tunnel.Told(() => Egress.DialFailed(Core!.Request, _endpoint!, reason));
        _endpoint = null;
        if (!Core!.IsReset)
        {
            DialNext();
        }
    }

    private void StopDialling()
    {
        _isConnecting = false;
        if (_timeout is not null)
        {
            Loop.Timers.Remove(_timeout);
            _timeout = null;
        }
    }

    private void Accept()
    {
        StopDialling();
        StreamSpans.Connected(Core!.Request, _endpoint!);
        (_dial, _verdict) = (null, null);
        lock (Session!.Gate)
        {
            if (!Core!.IsReset)
            {
                Core.Accept(Session.Now);
            }
        }

        Carry();
    }

    private void Refuse(StreamCode code, string reason)
    {
        lock (Session!.Gate)
        {
            Core!.Reset(code, reason, Session.Now);
        }

        GiveUp();
    }

    private void GiveUp()
    {
        StopDialling();
        CloseSocket(abort: true);
        Over();
    }

    protected override void Ended()
    {
        var core = Core!;
        lock (Session!.Gate)
        {
            core.Decided();
        }

        var summary = new StreamSummary(
            core.Request.Service, Session.Peer, _connected ? _endpoint : null, core.Code, _failed ?? core.Reason, BytesDown, BytesUp, Tunnel.Now - _began);
        Tunnel.Told(() => Egress.Ended(Session.Peer, core.Request, summary));
    }
}
