using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Fabric.Tunnel.Drivers;

/// <summary>Options of the sockets that the driver opens.</summary>
internal static class Sockets
{
    private const int TcpLevel = 6;
    private const int TcpMaxSegment = 2;
    private const int TcpInfo = 11;
    private const byte TcpClosed = 7;
    private const int TcpCongestion = 13;
    private const int TcpUserTimeout = 18;
    private const int TcpNotSentLowWater = 25;

    /// <summary>Of <c>struct tcp_info</c>, the part up to the least round trip.</summary>
    public const int TcpInfoLength = 152;

    private const uint NearMicroseconds = 1_000;

    public static ReadOnlySpan<byte> Cubic => "cubic"u8;

    public static Socket Listen(IPEndPoint address)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (address.AddressFamily == AddressFamily.InterNetworkV6 && address.Address.Equals(IPAddress.IPv6Any))
            {
                socket.DualMode = true;
            }

            if (!OperatingSystem.IsWindows())
            {
                socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            }

            // On Linux what it accepts begins with the same.
            socket.NoDelay = true;
            socket.Bind(address);
            socket.Listen(1024);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Ends a connection so that what was sent arrives: not by a reset, which takes along what the other side has not read. What still comes is
    /// thrown away, up to 64 KiB, for a second at most.
    /// </summary>
    public static async Task LetGoAsync(Socket socket, TimeProvider time)
    {
        try
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1), time);
            socket.Shutdown(SocketShutdown.Send);
            var buffer = new byte[4096];
            for (var (left, read) = (64 << 10, 1); left > 0 && read > 0; left -= read)
            {
                read = await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token).ConfigureAwait(false);
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // It is over already, or the other side takes its time.
        }

        socket.Dispose();
    }

    /// <summary>Small answers must not wait, and a dead peer must be noticed when nothing else does.</summary>
    /// <param name="socket">Of the lane.</param>
    /// <param name="maxSegment">Bytes of the largest segment; 0: the kernel's own choice.</param>
    public static void PrepareLane(Socket socket, int maxSegment)
    {
        socket.NoDelay = true;
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 10);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 5);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        socket.SetRawSocketOption(TcpLevel, TcpUserTimeout, BitConverter.GetBytes(30_000));
        if (maxSegment > 0)
        {
            socket.SetRawSocketOption(TcpLevel, TcpMaxSegment, BitConverter.GetBytes(maxSegment));
        }
    }

    /// <summary>
    /// The shared lane of a link keeps little in the kernel: what is written next waits behind it. And it takes cubic where the system's own
    /// choice is another one: every ten seconds BBR sends no more than four packets in a round trip, for 200 ms
    /// (draft-cardwell-iccrg-bbr-congestion-control, ProbeRTT), and all small messages of two gateways would wait for that. Bulk takes the system's,
    /// but for <see cref="PreferCubic"/>.
    /// </summary>
    /// <param name="socket">Of the lane.</param>
    /// <param name="channel">Of the lane; 0 is the shared one.</param>
    public static void PrepareChannel(Socket socket, int channel)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        socket.SetRawSocketOption(TcpLevel, TcpNotSentLowWater, BitConverter.GetBytes(channel == 0 ? 128 * 1024 : 512 * 1024));
        if (channel == 0)
        {
            TakeCubic(socket);
        }
        else
        {
            PreferCubic(socket);
        }
    }

    /// <summary>
    /// Cubic, where the other end is near. BBR paces by a timer for every few segments: on a way of gigabytes a second and microseconds that takes more of
    /// the processor than the bytes do, for a bottleneck that is not there. Far away it stays, if it is what the system takes. On a connected socket.
    /// </summary>
    public static void PreferCubic(Socket socket)
    {
        Span<byte> info = stackalloc byte[TcpInfoLength];
        if (OperatingSystem.IsLinux() && IsNear(info[..socket.GetRawSocketOption(TcpLevel, TcpInfo, info)]))
        {
            TakeCubic(socket);
        }
    }

    /// <summary>Whether the least round trip was under a millisecond.</summary>
    /// <param name="tcpInfo">As the kernel tells it; an old one tells less.</param>
    public static bool IsNear(ReadOnlySpan<byte> tcpInfo) =>
        tcpInfo.Length >= TcpInfoLength && MemoryMarshal.Read<uint>(tcpInfo[148..]) < NearMicroseconds;

    private static void TakeCubic(Socket socket)
    {
        try
        {
            socket.SetRawSocketOption(TcpLevel, TcpCongestion, Cubic);
        }
        catch (SocketException)
        {
            // This kernel has none, or does not let everybody have it.
        }
    }

    /// <summary>
    /// Whether what a read takes for the end is a reset. The kernel tells of a reset once: when a send that failed meanwhile was told, a read is
    /// not. Only of a socket that this side has not shut down; known on Linux alone.
    /// </summary>
    public static bool WasReset(Socket socket)
    {
        Span<byte> state = stackalloc byte[1];
        return OperatingSystem.IsLinux() && socket.GetRawSocketOption(TcpLevel, TcpInfo, state) == 1 && state[0] == TcpClosed;
    }

    /// <summary>Closes so that the other side sees a reset.</summary>
    public static void Abort(Socket socket)
    {
        try
        {
            socket.LingerState = new LingerOption(true, 0);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // It is closed already.
        }

        socket.Dispose();
    }
}
