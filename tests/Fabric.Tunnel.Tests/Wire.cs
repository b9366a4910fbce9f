using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// A way to a port that can be torn as by the death of the process behind it: connections are reset both ways, and new ones are
/// refused. Nobody is told beforehand.
/// </summary>
internal sealed class Wire : IDisposable
{
    private readonly ConcurrentBag<Socket> _sockets = [];
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
        Dispose();
        while (_sockets.TryTake(out var socket))
        {
            socket.LingerState = new LingerOption(true, 0);
            socket.Dispose();
        }
    }

    public void Mend() => _listener = Listen(Port);

    public void Dispose() => _listener.Dispose();

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
                _sockets.Add(near);
                _sockets.Add(far);
                await far.ConnectAsync(_target);
                _ = CopyAsync(near, far);
                _ = CopyAsync(far, near);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Torn.
        }
    }

    private static async Task CopyAsync(Socket from, Socket to)
    {
        try
        {
            var buffer = new byte[64 * 1024];
            while (await from.ReceiveAsync(buffer) is var read && read > 0)
            {
                for (var sent = 0; sent < read;)
                {
                    sent += await to.SendAsync(buffer.AsMemory(sent, read - sent));
                }
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Torn.
        }
    }
}
