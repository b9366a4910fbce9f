using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Gateway.Dns;

/// <summary>The bound sockets of one endpoint.</summary>
/// <param name="Udp">One; on Linux one for each thread.</param>
/// <param name="Tcp">Listening.</param>
/// <param name="Tls">Whether TLS is spoken on it; then there is no UDP.</param>
internal sealed record DnsSockets(ImmutableArray<Socket> Udp, Socket Tcp, bool Tls) : IDisposable
{
    private const int SocketBuffer = 1 << 20;
    private const int SioUdpConnReset = unchecked((int)0x9800000C);

    /// <summary>A free port of UDP may be taken in TCP: then another one is tried, a few times.</summary>
    /// <exception cref="DnsListenException">It cannot be bound.</exception>
    public static DnsSockets Bind(IPEndPoint endPoint, int threads)
    {
        for (var attempt = 1; ; attempt++)
        {
            var opened = new List<Socket>();
            var what = "udp";
            try
            {
                var at = endPoint;
                for (var i = 0; i < (OperatingSystem.IsLinux() ? threads : 1); i++)
                {
                    var udp = Open(at, SocketType.Dgram, ProtocolType.Udp, opened);
                    if (OperatingSystem.IsLinux() && threads > 1)
                    {
                        DnsLinuxUdp.SharePort(udp);
                    }
                    else if (OperatingSystem.IsWindows())
                    {
                        // Else an asker that has gone makes the next receive fail.
                        udp.IOControl(SioUdpConnReset, [0, 0, 0, 0], null);
                    }

                    udp.ReceiveBufferSize = SocketBuffer;
                    udp.Bind(at);
                    at = (IPEndPoint)udp.LocalEndPoint!;
                }

                what = "tcp";
                ImmutableArray<Socket> bound = [.. opened];
                return new DnsSockets(bound, Listen(at, opened), Tls: false);
            }
            catch (SocketException e)
            {
                opened.ForEach(s => s.Dispose());
                if (what != "tcp" || endPoint.Port != 0 || attempt == 8)
                {
                    throw new DnsListenException(endPoint, what, e);
                }
            }
        }
    }

    /// <exception cref="DnsListenException">It cannot be bound.</exception>
    public static DnsSockets BindTls(IPEndPoint endPoint)
    {
        var opened = new List<Socket>();
        try
        {
            return new DnsSockets([], Listen(endPoint, opened), Tls: true);
        }
        catch (SocketException e)
        {
            opened.ForEach(s => s.Dispose());
            throw new DnsListenException(endPoint, "tls", e);
        }
    }

    public void Dispose()
    {
        foreach (var socket in Udp.Add(Tcp))
        {
            socket.Dispose();
        }
    }

    private static Socket Listen(IPEndPoint endPoint, List<Socket> opened)
    {
        var tcp = Open(endPoint, SocketType.Stream, ProtocolType.Tcp, opened);
        tcp.Bind(endPoint);
        tcp.Listen();
        return tcp;
    }

    private static Socket Open(IPEndPoint endPoint, SocketType type, ProtocolType protocol, List<Socket> opened)
    {
        var socket = new Socket(endPoint.AddressFamily, type, protocol);
        opened.Add(socket);
        if (endPoint.Address.Equals(IPAddress.IPv6Any))
        {
            socket.DualMode = true;
        }

        return socket;
    }
}
