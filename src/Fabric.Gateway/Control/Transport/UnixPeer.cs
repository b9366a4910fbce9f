using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Fabric.Gateway.Control.Transport;

/// <summary>Who is at the other end of a unix socket, as the kernel says (SO_PEERCRED, unix(7)).</summary>
internal static class UnixPeer
{
    /// <summary>What is told where the system does not say: one user for all.</summary>
    public const uint Unknown = uint.MaxValue;

    private const int SocketLevel = 1;
    private const int PeerCredentials = 17;

    /// <summary>Number of the user that connected.</summary>
    public static uint UserOf(Socket? socket)
    {
        if (socket is null || !OperatingSystem.IsLinux())
        {
            return Unknown;
        }

        // struct ucred: pid, uid, gid.
        Span<byte> credentials = stackalloc byte[12];
        try
        {
            return socket.GetRawSocketOption(SocketLevel, PeerCredentials, credentials) == credentials.Length
                ? MemoryMarshal.Read<uint>(credentials[4..]) : Unknown;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It is gone: so is its call.
            return Unknown;
        }
    }
}
