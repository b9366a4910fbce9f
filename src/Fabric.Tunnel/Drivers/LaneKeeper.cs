using System.Diagnostics;
using System.Net.Sockets;
using Fabric.Identity;
using Fabric.Identity.Svid;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// Keeps one planned lane up: dials while there is none over its link, with growing waits. When the peer dials, it only keeps
/// what is to be told about it.
/// </summary>
internal sealed class LaneKeeper
{
    private readonly GatewayTunnel _tunnel;
    private readonly PeerSession _session;
    private readonly AsyncSignal _wake = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private volatile LaneState _state;
    private volatile string? _error;
    private volatile bool _isStale;
    private volatile TaskCompletionSource _refresh = NewRefresh();
    private volatile CancellationTokenSource _hurry = new();
    private volatile CancellationTokenSource _anew = new();
    private bool _accepted;
    private SvidRejection _told;

    public LaneKeeper(GatewayTunnel tunnel, PeerSession session, LanePlan plan, int channel)
    {
        _tunnel = tunnel;
        _session = session;
        Plan = plan;
        Channel = channel;
        _state = plan.Dials ? LaneState.Dialling : LaneState.Down;
        _loop = plan.Dials ? Task.Run(DialLoopAsync)
            : plan.Knock is not null && channel == 0 ? Task.Run(KnockLoopAsync) : Task.CompletedTask;
    }

    public LanePlan Plan { get; }

    /// <summary>Which lane of its link it is.</summary>
    public int Channel { get; }

    public LaneStatus Status => new(Plan.Link, _state, 0, Plan.Remote, _error, 0) { Channel = Channel };

    /// <summary>A lane over the link ended, for that reason.</summary>
    public void LaneEnded(string reason) => _error = reason;

    /// <summary>A lane of the session ended: look whether there is something to do.</summary>
    public void Wake() => _wake.Set();

    /// <summary>Dials the lane anew, while the one that is up goes on: the new one takes its place when it is up. Idempotent until then.</summary>
    public void Refresh()
    {
        if (Plan.Dials && !_isStale)
        {
            _isStale = true;
            _refresh.TrySetResult();
            _wake.Set();
        }
    }

    /// <summary>There is reason to think that the peer is reached now: what waits to be dialled is dialled at once.</summary>
    /// <param name="anew">Also what was dialled and has had no answer: what was sent is known to be lost.</param>
    public void Hurry(bool anew)
    {
        _hurry.Cancel();
        if (anew)
        {
            _anew.Cancel();
        }
    }

    private static TaskCompletionSource NewRefresh() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    public async Task StopAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _wake.Set();
        await _loop.ConfigureAwait(false);
        _session.Dialled(Plan.Link, null);
    }

    private async Task DialLoopAsync()
    {
        var limits = _tunnel.Options.Limits;
        var pace = new RedialPace(limits);
        while (!_stop.IsCancellationRequested)
        {
            if (!_isStale && _session.HasLane(Plan.Link, Channel))
            {
                await _wake.WaitAsync().ConfigureAwait(false);
                continue;
            }

            var (hurry, anew) = (_hurry = new(), _anew = new());
            try
            {
                _state = LaneState.Dialling;
                _accepted = false;
                await DialAsync(anew.Token).ConfigureAwait(false);
                pace.CameUp();
                // That there was reason to hurry is long ago.
                hurry = _hurry = new();
            }
            catch (OperationCanceledException) when (anew.IsCancellationRequested && !_accepted)
            {
                // Given up for the next one.
            }
            catch (Exception error)
            {
                _tunnel.Refusals.AddCertificate(error);
                if (error is CertificateRefusedException refused && Channel == 0 && refused.Rejection != _told)
                {
                    // Once, and not with each dial: it stays so until somebody mends it.
                    _told = refused.Rejection;
                    _tunnel.Log.Write($"lane to {Plan.Peer} over {Plan.Link}: {error.Message}");
                }

                _error = error is OperationCanceledException
                    ? $"no lane within {limits.HandshakeTimeout.TotalSeconds:0.#} s of dialling" : error.Message;
                _state = LaneState.Down;
                Tell(error);
            }

            if (!await PauseAsync(pace, hurry.Token).ConfigureAwait(false))
            {
                return;
            }
        }
    }

    /// <summary>The peer dials. While no lane of it is left, a connection to its port says whether there still is a process behind it.</summary>
    private async Task KnockLoopAsync()
    {
        var pace = new RedialPace(_tunnel.Options.Limits);
        while (!_stop.IsCancellationRequested)
        {
            if (!_session.IsAlone)
            {
                pace.CameUp();
                await _wake.WaitAsync().ConfigureAwait(false);
                continue;
            }

            try
            {
                _accepted = false;
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                using var timer = StartTimer(limit);
                await HoldWhileCutAsync(limit.Token).ConfigureAwait(false);
                using var socket = new Socket(Plan.Knock!.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
                await socket.ConnectAsync(Plan.Knock, limit.Token).ConfigureAwait(false);
                _session.Dialled(Plan.Link, true);
            }
            catch (Exception error) when (error is SocketException or OperationCanceledException)
            {
                Tell(error);
            }

            if (!await PauseAsync(pace, CancellationToken.None).ConfigureAwait(false))
            {
                return;
            }
        }
    }

    private void Tell(Exception error) => _session.Dialled(
        Plan.Link, _accepted ? true : error is SocketException { SocketErrorCode: SocketError.ConnectionRefused } ? false : null);

    /// <summary>False: the keeper stops.</summary>
    private async Task<bool> PauseAsync(RedialPace pace, CancellationToken hurry)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, hurry);
        try
        {
            await Task.Delay(pace.Wait(_tunnel.Jitter()), _tunnel.Options.Time, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            pace.CameUp();
        }

        return !_stop.IsCancellationRequested;
    }

    private ITimer StartTimer(CancellationTokenSource limit) => _tunnel.Options.Time.CreateTimer(
        static s => ((CancellationTokenSource)s!).Cancel(), limit, _tunnel.Options.Limits.HandshakeTimeout, Timeout.InfiniteTimeSpan);

    /// <summary>Dials, and returns when the lane that came up has ended. Throws when none came up.</summary>
    /// <param name="anew">Gives up a connect that was not answered yet.</param>
    private async Task DialAsync(CancellationToken anew)
    {
        Lane lane;
        if (_refresh.Task.IsCompleted)
        {
            _refresh = NewRefresh();
        }

        using (var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token))
        using (StartTimer(limit))
        {
            await HoldWhileCutAsync(limit.Token).ConfigureAwait(false);
            await _tunnel.DialSlots.WaitAsync(limit.Token).ConfigureAwait(false);
            using var connecting = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, anew);
            GatewayConnection? connection = null;
            try
            {
                connection = await (Plan.Relay is { } relay ? ThroughAsync(relay, connecting.Token) : _tunnel.Driver.DialAsync(Plan, connecting.Token))
                    .ConfigureAwait(false);
                connection.Obey(_tunnel.Options.Faults, Plan.Peer, Plan.Link);
                connection.Carry(Channel);
                _accepted = true;
                connection.OwnRoot = _tunnel.Options.Identity.Root;
                var peer = await connection.ConnectAsync(Plan.Peer, limit.Token).ConfigureAwait(false);
                lane = await GreetAsync(connection.ToLane(), peer, limit.Token).ConfigureAwait(false);
            }
            catch
            {
                await (connection?.DisposeAsync() ?? ValueTask.CompletedTask).ConfigureAwait(false);
                throw;
            }
            finally
            {
                _tunnel.DialSlots.Release();
            }
        }

        (_error, _told) = (null, SvidRejection.None);
        _state = LaneState.Up;
        _isStale = false;
        var running = lane.RunAsync(_session);
        if (await Task.WhenAny(running, _refresh.Task).ConfigureAwait(false) == running)
        {
            await running.ConfigureAwait(false);
            _error = lane.EndReason.Length > 0 ? lane.EndReason : _error ?? "it ended";
            _state = LaneState.Down;
        }
    }

    private async Task<GatewayConnection> ThroughAsync(string relay, CancellationToken cancellationToken)
    {
        using var span = _tunnel.Options.TraceLane(relay, Plan.Peer);
        var open = new StreamOpen(RelayNames.Ask(Plan.Peer), 0, _tunnel.Options.Identity.Id.ToString(), span?.Id ?? "");
        try
        {
            var stream = await _tunnel.OpenAsync(relay, open, cancellationToken).ConfigureAwait(false);
            return PortableConnection.Through(_tunnel, stream, span?.Context ?? default);
        }
        catch (Exception error)
        {
            span?.SetStatus(ActivityStatusCode.Error, error.Message);
            throw;
        }
    }

    private async Task<Lane> GreetAsync(Lane lane, GatewayId peer, CancellationToken cancellationToken)
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
