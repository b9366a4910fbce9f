using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// A way to a port that can be torn as by the death of the process behind it: connections are reset both ways, and new ones are
/// refused. Or connections alone are reset, as by a middlebox that forgot them. Nobody is told beforehand.
/// </summary>
internal sealed class Wire : IDisposable
{
    /// <summary>By the address from which the target sees it come.</summary>
    private readonly ConcurrentDictionary<IPEndPoint, Connection> _connections = new();
    private readonly IPEndPoint _target;
    private Socket _listener;

    public Wire(IPEndPoint target)
    {
        _target = target;
        _listener = Listen(Pair.AnyPort);
        Port = (IPEndPoint)_listener.LocalEndPoint!;
    }

    public IPEndPoint Port { get; }

    public void Tear()
    {
        _listener.Dispose();
        Reset();
    }

    public void Mend() => _listener = Listen(Port);

    /// <summary>Bytes of the connection that the target sees come from there, both ways; 0 when there is none.</summary>
    public long Carried(IPEndPoint from) => _connections.TryGetValue(from, out var connection) ? Interlocked.Read(ref connection.Bytes) : 0;

    /// <summary>Resets the connections that are there.</summary>
    public void Reset()
    {
        foreach (var from in _connections.Keys)
        {
            Reset(from);
        }
    }

    /// <summary>Resets the connection that the target sees come from there.</summary>
    public void Reset(IPEndPoint from)
    {
        if (!_connections.TryRemove(from, out var connection))
        {
            return;
        }

        foreach (var socket in new[] { connection.Near, connection.Far })
        {
            socket.LingerState = new LingerOption(true, 0);
            socket.Dispose();
        }
    }

    public void Dispose() => Tear();

    private Socket Listen(IPEndPoint port)
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        listener.Bind(port);
        listener.Listen();
        _ = AcceptAsync(listener);
        return listener;
    }

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
            {
                var near = await listener.AcceptAsync();
                var far = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                far.Bind(Pair.AnyPort);
                var from = (IPEndPoint)far.LocalEndPoint!;
                var connection = new Connection(near, far);
                _connections[from] = connection;
                _ = CarryAsync(connection, from);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Torn.
        }
    }

    private async Task CarryAsync(Connection connection, IPEndPoint from)
    {
        try
        {
            await connection.Far.ConnectAsync(_target);
            var ways = new[] { connection.CopyAsync(connection.Near, connection.Far), connection.CopyAsync(connection.Far, connection.Near) };
            await await Task.WhenAny(ways);
            await Task.WhenAll(ways);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Torn, or reset by an end: the other one sees the same.
        }

        Reset(from);
    }

    private sealed class Connection(Socket near, Socket far)
    {
        public long Bytes;

        public Socket Near => near;

        public Socket Far => far;

        public async Task CopyAsync(Socket from, Socket to)
        {
            var buffer = new byte[64 * 1024];
            while (await from.ReceiveAsync(buffer) is var read && read > 0)
            {
                for (var sent = 0; sent < read;)
                {
                    sent += await to.SendAsync(buffer.AsMemory(sent, read - sent));
                }

                Interlocked.Add(ref Bytes, read);
            }

            to.Shutdown(SocketShutdown.Send);
        }
    }
}
