using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Portable;

/// <summary>A socket that listens, and hands each connection to a task of its own: it never waits for one. Failing to open is tried again.</summary>
internal sealed class Acceptor(IPEndPoint address, string name, Func<Socket, Task> serve, QuietLog log, TimeProvider time) : IListener
{
    /// <summary>Descriptors do not come back by asking at once.</summary>
    private static readonly TimeSpan _acceptRetry = TimeSpan.FromMilliseconds(100);

    private readonly ListeningSocket _listening = new(address, name);
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;

    public ListenerStatus Status => _listening.Status;

    public void TryOpen()
    {
        if (_listening.TryOpen())
        {
            _loop = Task.Run(() => AcceptLoopAsync(_listening.Socket!));
        }
    }

    private async Task AcceptLoopAsync(Socket listener)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptAsync(_stop.Token).ConfigureAwait(false);
                _ = ServeAsync(socket);
            }
            catch (SocketException error) when (!_stop.IsCancellationRequested)
            {
                // A client that was gone before it was accepted; or no descriptors left.
                log.Write($"{name} on {_listening.Address}: accept failed: {error.Message}");
                if (error.SocketErrorCode is SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable)
                {
                    await Task.Delay(_acceptRetry, time, CancellationToken.None).ConfigureAwait(false);
                }
            }
            catch (Exception error) when (error is OperationCanceledException or ObjectDisposedException or SocketException)
            {
                return;
            }
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        try
        {
            await Task.Yield();
            await serve(socket).ConfigureAwait(false);
        }
        catch (Exception error) when (IsExpected(error))
        {
            log.Write($"{name} on {_listening.Address}: {error.Message}");
        }
        catch (Exception error)
        {
            log.Write($"{name} on {_listening.Address}: unexpected {error}");
        }
        finally
        {
            socket.Dispose();
        }
    }

    /// <summary>Whether a connection may end so by nobody's mistake but the other side's.</summary>
    public static bool IsExpected(Exception error) => error is IOException or SocketException or AuthenticationException or FrameException
        or OperationCanceledException or ObjectDisposedException or InvalidOperationException;

    public async Task CloseAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _listening.Socket?.Dispose();
        await _loop.ConfigureAwait(false);
    }
}
