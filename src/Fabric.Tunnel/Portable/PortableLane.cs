using System.Net.Security;
using System.Net.Sockets;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Portable;

/// <summary>A lane over <see cref="SslStream"/>: a loop that reads and a loop that writes.</summary>
internal sealed class PortableLane(GatewayTunnel tunnel, PortableConnection connection, LaneTransport transport, SslStream tls)
    : Lane(tunnel, connection)
{
    private readonly AsyncSignal _output = new();
    private readonly CancellationTokenSource _stop = new();

    protected override long SendProgress => transport.SendProgress;

    protected override bool IsSending => transport.IsSending;

    public override async Task RunAsync(PeerSession session)
    {
        await using var watch = new WriteWatch(this, session);
        var reading = ReadAsync(session);
        var writing = WriteAsync(session);
        await reading.ConfigureAwait(false);
        _output.Set();
        await Task.WhenAny(SayFarewellAsync(writing), Task.Delay(FarewellLimit, session.Time)).ConfigureAwait(false);
        await _stop.CancelAsync().ConfigureAwait(false);
        await writing.ConfigureAwait(false);
        await CloseAsync().ConfigureAwait(false);
    }

    public override async Task CloseAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        if (Farewell is null && Core is not null)
        {
            // What the kernel still holds for a lane that is over is not worth carrying.
            transport.Abandon();
        }

        await connection.DisposeAsync().ConfigureAwait(false);
        IsClosed();
    }

    /// <summary>
    /// After the last words: what the peer still sends is read and dropped until it has closed too, for a socket that is closed with
    /// bytes unread takes them back.
    /// </summary>
    private async Task SayFarewellAsync(Task writing)
    {
        await writing.ConfigureAwait(false);
        if (Farewell is null)
        {
            return;
        }

        try
        {
            transport.EndWrites();
            var dropped = new byte[FrameHeader.MaxFrame];
            while (await transport.ReadAsync(dropped, _stop.Token).ConfigureAwait(false) > 0)
            {
                // Not even decrypted.
            }
        }
        catch (Exception error) when (error is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // It is over, one way or another.
        }
    }

    private async Task ReadAsync(PeerSession session)
    {
        var reason = "the peer closed the connection";
        try
        {
            // What came right behind HELLO is read already.
            while (Take(session))
            {
                var read = await tls.ReadAsync(MakeRoom(), _stop.Token).ConfigureAwait(false);
                if (read == 0)
                {
                    break;
                }

                Filled(read);
            }
        }
        catch (Exception error) when (error is FrameException or LaneFloodException)
        {
            reason = Broke(session, error);
        }
        catch (Exception error) when (error is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // SslStream says "see inner exception" for what TLS found.
            reason = error.GetBaseException().Message;
        }
        catch (Exception error)
        {
            reason = error.Message;
            Tunnel.Options.Log($"lane to {session.Peer}: unexpected {error}");
        }

        session.EndLane(this, reason);
    }

    private async Task WriteAsync(PeerSession session)
    {
        var batch = new FrameBatch();
        var staging = GC.AllocateUninitializedArray<byte>(TurnBytes + FrameBatch.Slack, pinned: true);
        try
        {
            while (true)
            {
                lock (session.Gate)
                {
                    if (!Core!.IsLive)
                    {
                        break;
                    }

                    Session!.Produce(Core, batch, TurnBytes, session.Now);
                    session.Rearm();
                }

                if (batch.Count == 0)
                {
                    await _output.WaitAsync().ConfigureAwait(false);
                    continue;
                }

                var bytes = batch.Bytes;
                batch.CopyTo(staging);
                batch.Clear();
                await tls.WriteAsync(staging.AsMemory(0, bytes), _stop.Token).ConfigureAwait(false);
                await tls.FlushAsync(_stop.Token).ConfigureAwait(false);
            }

            if (Farewell is { } farewell)
            {
                await SendAsync(FrameType.Close, farewell, _stop.Token).ConfigureAwait(false);
            }
        }
        catch (Exception error) when (error is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            session.EndLane(this, error.GetBaseException().Message);
        }
        catch (Exception error)
        {
            // Never a lane that only seems to live.
            Tunnel.Options.Log($"lane to {session.Peer}: unexpected {error}");
            session.EndLane(this, error.Message);
        }
        finally
        {
            batch.Clear();
        }
    }

    public override void OutputReady() => _output.Set();

    public override void Ended(string reason)
    {
        EndReason = reason;
        _output.Set();
        if (Farewell is null)
        {
            // Elsewhere: cancelling runs what waits for it.
            ThreadPool.UnsafeQueueUserWorkItem(static lane => lane._stop.Cancel(), this, preferLocal: false);
        }
        else
        {
            _stop.CancelAfter(FarewellLimit);
        }
    }
}
