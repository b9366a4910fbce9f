using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Fabric.Identity;
using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Portable;

/// <summary>A socket that the plan asks for. Failing to open is tried again.</summary>
internal interface IListener
{
    ListenerStatus Status { get; }

    /// <summary>Opens the socket when it is not open. Not thread-safe.</summary>
    void TryOpen();

    Task CloseAsync();
}

/// <summary>A socket that listens, and hands each connection to a task of its own.</summary>
internal sealed class Acceptor(IPEndPoint address, string name, Func<Socket, Task> serve, Action<string> log) : IListener
{
    private readonly CancellationTokenSource _stop = new();
    private Socket? _socket;
    private IPEndPoint? _bound;
    private Task _loop = Task.CompletedTask;

    /// <summary>Where it listens; the port is known once it is open.</summary>
    public IPEndPoint Address => _bound ?? address;

    public string? Error { get; private set; }

    public bool IsOpen => _socket is not null;

    public ListenerStatus Status => new(name, Address, IsOpen, Error);

    public void TryOpen()
    {
        if (_socket is not null)
        {
            return;
        }

        try
        {
            _socket = Sockets.Listen(address);
            _bound = (IPEndPoint)_socket.LocalEndPoint!;
            Error = null;
            _loop = Task.Run(() => AcceptLoopAsync(_socket));
        }
        catch (SocketException error)
        {
            Error = $"cannot listen on {address}: {error.Message}";
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
            catch (Exception error) when (error is SocketException && !_stop.IsCancellationRequested)
            {
                // Out of descriptors, or a client that was gone before it was accepted.
                log($"{name} on {Address}: accept failed: {error.Message}");
                await Task.Yield();
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
        catch (Exception error) when (error is IOException or SocketException or AuthenticationException or FrameException
            or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            log($"{name} on {Address}: {error.Message}");
        }
        catch (Exception error)
        {
            log($"{name} on {Address}: unexpected {error}");
        }
        finally
        {
            socket.Dispose();
        }
    }

    public async Task CloseAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _socket?.Dispose();
        await _loop.ConfigureAwait(false);
    }
}

/// <summary>What the gateway port does with a connection: TLS, then a lane or another protocol, by ALPN.</summary>
internal sealed class GatewayPort(PortableTunnel tunnel)
{
    public async Task ServeAsync(Socket socket)
    {
        var remote = (IPEndPoint)socket.RemoteEndPoint!;
        var transport = new LaneTransport(socket);
        SslStream? tls = null;
        GatewayId? peer;
        PortableLane? lane = null;
        try
        {
            using (var limit = CancellationTokenSource.CreateLinkedTokenSource(tunnel.Stopping))
            using (var timer = tunnel.Options.Time.CreateTimer(
                static s => ((CancellationTokenSource)s!).Cancel(), limit, tunnel.Options.Limits.HandshakeTimeout, Timeout.InfiniteTimeSpan))
            {
                await tunnel.AcceptSlots.WaitAsync(limit.Token).ConfigureAwait(false);
                try
                {
                    Sockets.PrepareLane(socket, 0, 0);
                    (tls, peer) = await MutualTls.AcceptAsync(
                        transport, tunnel.Options.Identity, tunnel.Options.Protocols.Keys.Prepend(MutualTls.LaneProtocol), limit.Token)
                        .ConfigureAwait(false);
                    if (tls.NegotiatedApplicationProtocol.ToString() == MutualTls.LaneProtocol)
                    {
                        lane = await GreetAsync(transport, tls, peer, limit.Token).ConfigureAwait(false);
                    }
                }
                finally
                {
                    tunnel.AcceptSlots.Release();
                }
            }

            if (lane is not null)
            {
                await lane.RunAsync(tunnel.Session(peer!.Value.Gateway)!).ConfigureAwait(false);
            }
            else if (tunnel.Options.Protocols.TryGetValue(tls.NegotiatedApplicationProtocol.ToString(), out var handler))
            {
                await handler(new ProtocolConnection(tls, tls.NegotiatedApplicationProtocol.ToString(), peer, remote)).ConfigureAwait(false);
            }
            else
            {
                throw new AuthenticationException($"{remote} asked for no protocol that is spoken here");
            }
        }
        finally
        {
            if (tls is not null)
            {
                await tls.DisposeAsync().ConfigureAwait(false);
            }

            await transport.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task<PortableLane> GreetAsync(LaneTransport transport, SslStream tls, GatewayId? peer, CancellationToken cancellationToken)
    {
        if (peer is not { } id)
        {
            throw new AuthenticationException("a lane needs a client certificate, and none was sent");
        }

        var lane = new PortableLane(tunnel, transport, tls);
        try
        {
            var hello = await lane.ReceiveHelloAsync(cancellationToken).ConfigureAwait(false);
            var reason = $"no lane between {tunnel.Options.Identity.Id.Gateway} and {id.Gateway} over {hello.Link} is planned here";
            var session = tunnel.IsPlanned(id.Gateway, hello.Link) ? tunnel.Session(id.Gateway) : null;
            transport.Obey(tunnel.Options.Faults, id.Gateway, hello.Link);
            var answer = session?.Join(lane, id, hello, null, out reason);
            if (answer is null)
            {
                await lane.RefuseAsync(session is null ? StreamCode.PolicyDenied : StreamCode.SessionLost, reason, cancellationToken)
                    .ConfigureAwait(false);
                throw new AuthenticationException($"lane refused: {reason}");
            }

            try
            {
                await lane.SendHelloAsync(answer, cancellationToken).ConfigureAwait(false);
                return lane;
            }
            catch
            {
                session!.EndLane(lane, "HELLO could not be answered");
                throw;
            }
        }
        catch
        {
            await lane.CloseAsync().ConfigureAwait(false);
            throw;
        }
    }
}
