using System.Net;
using System.Net.Sockets;

namespace Fabric.Gateway.Tests;

/// <summary>
/// Ports of the loopback that are free for TCP and for UDP, and stay so: they lie below those that the system gives to whoever asks for any,
/// and each is given once.
/// </summary>
internal static class FreePorts
{
    private const int First = 20_000;
    private const int Count = 12_000;

    private static int _taken = Random.Shared.Next(Count);

    public static int[] Take(int count)
    {
        List<int> ports = [];
        for (var tries = 0; ports.Count < count && tries < Count; tries++)
        {
            var port = First + (int)((uint)Interlocked.Increment(ref _taken) % Count);
            if (IsFree(port))
            {
                ports.Add(port);
            }
        }

        return [.. ports];
    }

    private static bool IsFree(int port)
    {
        using var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        using var udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        try
        {
            tcp.Bind(new IPEndPoint(IPAddress.Loopback, port));
            udp.Bind(new IPEndPoint(IPAddress.Loopback, port));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
