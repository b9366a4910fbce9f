using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Tests;

/// <summary>A port that answers nobody who connects: its queue is full.</summary>
internal sealed class SilentPort : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly TcpClient _queued = new();

    public SilentPort()
    {
        _listener.Start(backlog: 0);
        _queued.Connect(Address);
    }

    public IPEndPoint Address => (IPEndPoint)_listener.LocalEndpoint;

    public void Dispose()
    {
        _queued.Dispose();
        _listener.Dispose();
    }
}
