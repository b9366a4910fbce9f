using System.Net.Sockets;
using Fabric.Identity.Joining;

namespace Fabric.Gateway.Hosting;

/// <summary>Plain connections to where identities come from.</summary>
internal static class Dialer
{
    /// <summary>
    /// To <c>host:port</c>, or to the socket at <c>unix:/path</c>. Throws <see cref="SocketException"/>, or <see cref="IOException"/>
    /// when the address is neither.
    /// </summary>
    public static async Task<Stream> ConnectAsync(string address, CancellationToken cancellationToken)
    {
        if (address.StartsWith("unix:", StringComparison.Ordinal))
        {
            return await ConnectAsync(new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified),
                s => s.ConnectAsync(new UnixDomainSocketEndPoint(address["unix:".Length..]), cancellationToken));
        }

        if (!JoinToken.TrySplit(address, out var host, out var port))
        {
            throw new IOException($"'{address}' is not host:port");
        }

        return await ConnectAsync(new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true },
            s => s.ConnectAsync(host, port, cancellationToken));
    }

    private static async Task<Stream> ConnectAsync(Socket socket, Func<Socket, ValueTask> connect)
    {
        try
        {
            await connect(socket);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
