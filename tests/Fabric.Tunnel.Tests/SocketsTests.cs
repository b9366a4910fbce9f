using System.Net.Sockets;
using System.Text;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Tests;

/// <summary>What is asked of the kernel for a lane.</summary>
public sealed class SocketsTests
{
    [Fact]
    public void Shared_lane_takes_cubic_and_bulk_what_the_system_chose()
    {
        Assert.Equal("cubic", CongestionControl(channel: 0));
        Assert.Equal(File.ReadAllText("/proc/sys/net/ipv4/tcp_congestion_control").Trim(), CongestionControl(channel: 1));
    }

    private static string CongestionControl(int channel)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        Sockets.PrepareChannel(socket, channel);
        var name = new byte[16];
        var length = socket.GetRawSocketOption(6, 13, name);
        return Encoding.ASCII.GetString(name, 0, length).TrimEnd('\0');
    }
}
