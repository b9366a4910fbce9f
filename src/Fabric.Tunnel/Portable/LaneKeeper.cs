using System.Net.Security;
using System.Net.Sockets;
using Fabric.Identity;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Portable;

/// <summary>
/// Keeps one planned lane up: dials while there is none over its link, with growing waits. When the peer dials, it only keeps
/// what is to be told about it.
/// </summary>
internal sealed class LaneKeeper
{
    private readonly PortableTunnel _tunnel;
    private readonly PeerSession _session;
    private readonly AsyncSignal _wake = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private volatile LaneState _state;
    private volatile string? _error;

    public LaneKeeper(PortableTunnel tunnel, PeerSession session, LanePlan plan, int channel)
    {
        _tunnel = tunnel;
        _session = session;
        Plan = plan;
        Channel = channel;
        _state = plan.Remote is null ? LaneState.Down : LaneState.Dialling;
        _loop = plan.Remote is null ? Task.CompletedTask : Task.Run(DialLoopAsync);
    }

    public LanePlan Plan { get; }

    /// <summary>Which lane of its link it is.</summary>
    public int Channel { get; }

    public LaneStatus Status => new(Plan.Link, _state, 0, Plan.Remote, _error, 0) { Channel = Channel };

    /// <summary>A lane over the link ended, for that reason.</summary>
    public void LaneEnded(string reason)
    {
        _error = reason;
        _wake.Set();
    }

    public async Task StopAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _wake.Set();
        await _loop.ConfigureAwait(false);
    }

    private async Task DialLoopAsync()
    {
        var limits = _tunnel.Options.Limits;
        var pace = new RedialPace(limits);
        while (!_stop.IsCancellationRequested)
        {
            if (_session.HasLane(Plan.Link, Channel))
            {
                await _wake.WaitAsync().ConfigureAwait(false);
                continue;
            }

            try
            {
                _state = LaneState.Dialling;
                await DialAsync().ConfigureAwait(false);
                pace.CameUp();
            }
            catch (Exception error)
            {
                _error = error is OperationCanceledException
                    ? $"no lane within {limits.HandshakeTimeout.TotalSeconds:0.#} s of dialling" : error.Message;
                _state = LaneState.Down;
            }

            try
            {
                await Task.Delay(pace.Wait(_tunnel.Jitter()), _tunnel.Options.Time, _stop.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>Dials, and returns when the lane that came up has ended. Throws when none came up.</summary>
    private async Task DialAsync()
    {
        var remote = Plan.Remote!;
        PortableLane? lane = null;
        using (var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token))
        using (var timer = _tunnel.Options.Time.CreateTimer(
            static s => ((CancellationTokenSource)s!).Cancel(), limit, _tunnel.Options.Limits.HandshakeTimeout, Timeout.InfiniteTimeSpan))
        {
            await HoldWhileCutAsync(limit.Token).ConfigureAwait(false);
            await _tunnel.DialSlots.WaitAsync(limit.Token).ConfigureAwait(false);
            var socket = new Socket(remote.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            var transport = new LaneTransport(socket);
            try
            {
                Sockets.PrepareLane(socket, Channel, Plan.MaxSegment);
                transport.Obey(_tunnel.Options.Faults, Plan.Peer, Plan.Link);
                await socket.ConnectAsync(remote, limit.Token).ConfigureAwait(false);
                var (tls, peer) = await MutualTls.ConnectAsync(
                    transport, _tunnel.Options.Identity, MutualTls.LaneProtocol, Plan.Peer, limit.Token).ConfigureAwait(false);
                lane = await GreetAsync(new PortableLane(_tunnel, transport, tls), peer, limit.Token).ConfigureAwait(false);
            }
            catch
            {
                await transport.DisposeAsync().ConfigureAwait(false);
                throw;
            }
            finally
            {
                _tunnel.DialSlots.Release();
            }
        }

        _error = null;
        _state = LaneState.Up;
        await lane.RunAsync(_session).ConfigureAwait(false);
        _error = lane.EndReason;
        _state = LaneState.Down;
    }

    private async Task<PortableLane> GreetAsync(PortableLane lane, GatewayId peer, CancellationToken cancellationToken)
    {
        try
        {
            var hello = _session.NewHello(Plan.Link, Channel);
            await lane.SendHelloAsync(hello, cancellationToken).ConfigureAwait(false);
            var answer = await lane.ReceiveHelloAsync(cancellationToken).ConfigureAwait(false);
            if (answer.Link != hello.Link || answer.Epoch != hello.Epoch || answer.Channel != hello.Channel)
            {
                throw new FrameException($"HELLO for lane {answer.Epoch} over {answer.Link}: {hello.Epoch} over {hello.Link} was dialled");
            }

            return _session.Join(lane, peer, answer, hello, out var reason) is not null ? lane : throw new IOException(reason);
        }
        catch
        {
            await lane.CloseAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task HoldWhileCutAsync(CancellationToken cancellationToken)
    {
        if (_tunnel.Options.Faults is not { } faults)
        {
            return;
        }

        var changed = new AsyncSignal();
        void OnChanged(string peer, string link) => changed.Set();
        faults.Changed += OnChanged;
        await using var cancelled = cancellationToken.UnsafeRegister(static s => ((AsyncSignal)s!).Set(), changed);
        try
        {
            while (faults.Current(Plan.Peer, Plan.Link) != LinkFault.None)
            {
                cancellationToken.ThrowIfCancellationRequested();
                await changed.WaitAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            faults.Changed -= OnChanged;
        }
    }
}
