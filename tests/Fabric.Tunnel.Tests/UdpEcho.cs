using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Tests;

/// <summary>A UDP server that sends everything back, and remembers who sent.</summary>
internal sealed class UdpEcho : IDisposable
{
    private readonly Socket _socket;

    /// <param name="answer">Size of each answer; null: the datagram as it came.</param>
    public UdpEcho(IPAddress? address = null, int? answer = null)
    {
        address ??= IPAddress.Loopback;
        _socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = 1 << 20 };
        _socket.Bind(new IPEndPoint(address, 0));
        _ = Task.Run(() => RunAsync(answer));
    }

    public IPEndPoint Address => (IPEndPoint)_socket.LocalEndPoint!;

    public ConcurrentDictionary<EndPoint, int> Clients { get; } = new();

    private async Task RunAsync(int? answer)
    {
        var buffer = new byte[65_536];
        var any = new IPEndPoint(_socket.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0);
        try
        {
            while (true)
            {
                var received = await _socket.ReceiveFromAsync(buffer, any);
                Clients.AddOrUpdate(received.RemoteEndPoint, 1, (_, n) => n + 1);
                await _socket.SendToAsync(buffer.AsMemory(0, answer ?? received.ReceivedBytes), received.RemoteEndPoint);
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // It was closed.
        }
    }

    public void Dispose() => _socket.Dispose();
}
