using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Drivers;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// The driver for Linux: event loops on epoll, TLS by libssl. A session with its lanes and the sockets of its streams belongs to one loop;
/// sessions are dealt out to as many loops as there are cores. Lanes through a relay, which are streams, run on the portable one.
/// </summary>
internal sealed class LinuxDriver : IDriver
{
    private readonly Lock _lock = new();
    private readonly List<EventLoop> _loops = [];
    private int _sessions;
    private bool _disposed;

    public LinuxDriver(GatewayTunnel tunnel)
    {
        Tunnel = tunnel;
        Tls = new TlsContext(tunnel.Options.Identity, new TlsOptions { Time = tunnel.Options.Time });
    }

    public GatewayTunnel Tunnel { get; }

    public TlsContext Tls { get; }

    public string Name => "linux";

    public DriverUsage Usage
    {
        get
        {
            lock (_lock)
            {
                return new DriverUsage([.. _loops.Select(l => l.Usage)], TlsSession.Live, TlsBuffer.AllBytes);
            }
        }
    }

    public void AskForLife()
    {
        lock (_lock)
        {
            foreach (var loop in _loops)
            {
                loop.AskForLife();
            }
        }
    }

    /// <summary>Whether it can run here; else why not.</summary>
    public static bool IsAvailable(out string reason) => TlsLibrary.IsAvailable(out reason);

    /// <summary>The loop of a session is that of its timer.</summary>
    public static EventLoop LoopOf(PeerSession session) => ((LoopTimer)session.Timer).Loop;

    /// <summary>Loops begin when they are needed: most gateways have few peers.</summary>
    private EventLoop Loop(int number)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            var index = number % Environment.ProcessorCount;
            while (_loops.Count <= index)
            {
                _loops.Add(new EventLoop($"tunnel loop {_loops.Count}", Tunnel.Pool, Tunnel.Options));
            }

            return _loops[index];
        }
    }

    public IListener Listen(IPEndPoint address, Func<GatewayConnection, Task> serve) => new LinuxListener(
        Loop(0), address, "gateway port", (descriptor, client) => _ = ServeAsync(descriptor, address, serve), Tunnel.Log);

    private async Task ServeAsync(int descriptor, IPEndPoint address, Func<GatewayConnection, Task> serve)
    {
        try
        {
            var connection = Accept(descriptor);
            await Task.Yield();
            await serve(connection).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Tunnel.Log.Write(Acceptor.IsExpected(error) ? $"gateway port on {address}: {error.Message}" : $"gateway port on {address}: unexpected {error}");
        }
    }

    private LinuxConnection Accept(int descriptor)
    {
        var socket = new Socket(new SafeSocketHandle(descriptor, ownsHandle: true));
        try
        {
            Sockets.PrepareLane(socket, 0);
            var watched = new LoopSocket(Loop(0), socket);
            watched.Start();
            return new LinuxConnection(this, watched);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public async Task<GatewayConnection> DialAsync(LanePlan lane, CancellationToken cancellationToken)
    {
        var descriptor = Libc.BeginConnect(lane.Remote!);
        if (descriptor < 0)
        {
            throw LinuxErrors.Exception(Libc.Errno);
        }

        var socket = new Socket(new SafeSocketHandle(descriptor, ownsHandle: true));
        var watched = new LoopSocket(Loop(0), socket);
        try
        {
            Sockets.PrepareLane(socket, lane.MaxSegment);
            watched.Start();
            await watched.ConnectedAsync(lane.Remote!, cancellationToken).ConfigureAwait(false);
            return new LinuxConnection(this, watched);
        }
        catch
        {
            watched.Close(null);
            throw;
        }
    }

    public IListener Serve(ServiceListener service)
    {
        var loop = Loop(0);
        return new LinuxListener(loop, service.Address, service.Place, (descriptor, client) => Accepted(loop, service, descriptor, client), Tunnel.Log);
    }

    private void Accepted(EventLoop loop, ServiceListener service, int descriptor, IPEndPoint client)
    {
        if (Tunnel.Ingress.TryEnter())
        {
            new ClientConnection(loop, Tunnel, service, descriptor, client).Begin();
        }
        else
        {
            Libc.Abort(descriptor);
        }
    }

    public CallerTls Secure(Socket socket, PeerCheck check, string[] protocols) => new LibsslCallerTls(Tls, socket, check, protocols);

    public void Serve(PeerSession session, StreamCore stream)
    {
        var connection = new EndpointConnection(LoopOf(session), Tunnel, session, stream);
        stream.Owner = connection;
        connection.Loop.Schedule(connection);
    }

    public ITimer CreateTimer(Action tick) => new LoopTimer(Loop(Interlocked.Increment(ref _sessions) - 1), tick);

    public ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            _disposed = true;
            _loops.ForEach(l => l.Dispose());
        }

        Tls.Dispose();
        return ValueTask.CompletedTask;
    }
}
