using System.Net;
using System.Net.Sockets;

namespace Fabric.Gateway.Tests;

/// <summary>Ports of the loopback that are free now for TCP and for UDP.</summary>
internal static class FreePorts
{
    public static int[] Take(int count)
    {
        List<Socket> held = [];
        List<int> ports = [];
        try
        {
            for (var tries = 0; ports.Count < count && tries < 1000; tries++)
            {
                var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                held.Add(tcp);
                tcp.Bind(new IPEndPoint(IPAddress.Loopback, 0));
                var udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
                held.Add(udp);
                try
                {
                    udp.Bind(tcp.LocalEndPoint!);
                    ports.Add(((IPEndPoint)tcp.LocalEndPoint!).Port);
                }
                catch (SocketException)
                {
                    // Free for TCP only.
                }
            }

            return [.. ports];
        }
        finally
        {
            held.ForEach(s => s.Dispose());
        }
    }
}
