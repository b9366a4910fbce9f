using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Tests;

public class SocketsTests
{
    private const int TcpCongestion = 13;

    [Fact]
    public async Task Bulk_between_two_that_are_near_is_not_paced()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(listener.LocalEndPoint!);
        socket.SetRawSocketOption(6, TcpCongestion, "reno"u8);

        Sockets.PreferCubic(socket);

        var name = new byte[16];
        var length = socket.GetRawSocketOption(6, TcpCongestion, name);
        Assert.Equal("cubic", Encoding.ASCII.GetString(name, 0, length).TrimEnd('\0'));
    }

    [Theory]
    [InlineData(40, true)]
    [InlineData(999, true)]
    [InlineData(1_000, false)]
    [InlineData(20_000, false)]
    [InlineData(uint.MaxValue, false)]
    public void Near_is_a_least_round_trip_under_a_millisecond(uint microseconds, bool near)
    {
        var info = new byte[Sockets.TcpInfoLength];
        BinaryPrimitives.WriteUInt32LittleEndian(info.AsSpan(148), microseconds);
        Assert.Equal(near, Sockets.IsNear(info));
        Assert.False(Sockets.IsNear(info.AsSpan(0, 104)), "a kernel that does not tell");
    }
}
