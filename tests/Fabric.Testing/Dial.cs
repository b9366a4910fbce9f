using System.Net;
using System.Net.Sockets;

namespace Fabric.Testing;

/// <summary>Plain connections, as the code under test asks for them.</summary>
public static class Dial
{
    public static Task<Stream> TcpAsync(int port, CancellationToken ct) =>
        ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), ProtocolType.Tcp, ct);

    public static Task<Stream> UnixAsync(string path, CancellationToken ct) =>
        ConnectAsync(new UnixDomainSocketEndPoint(path), ProtocolType.Unspecified, ct);

    /// <summary>Whether somebody listens there, on 127.0.0.1.</summary>
    public static bool IsOpen(int port)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Connect(IPAddress.Loopback, port);
            return true;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            return false;
        }
    }

    private static async Task<Stream> ConnectAsync(EndPoint to, ProtocolType protocol, CancellationToken ct)
    {
        var socket = new Socket(to.AddressFamily, SocketType.Stream, protocol);
        try
        {
            await socket.ConnectAsync(to, ct);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
