using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fabric.Overlay.Netlink;

namespace Fabric.Overlay.Tests.Netlink;

public sealed partial class SocketDiagTests
{
    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(5);

    [LibraryImport("libc", EntryPoint = "getuid")]
    private static partial uint User();

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("::1")]
    public void Says_whose_connection_it_is(string address)
    {
        using var kernel = SocketDiag.Open(_limit);
        using var listener = new TcpListener(IPAddress.Parse(address), 0);
        listener.Start();
        using var client = new TcpClient(listener.LocalEndpoint.AddressFamily);
        client.Connect((IPEndPoint)listener.LocalEndpoint);
        using var accepted = listener.AcceptSocket();
        var (local, remote) = ((IPEndPoint)client.Client.LocalEndPoint!, (IPEndPoint)listener.LocalEndpoint);

        Assert.Equal(User(), kernel.FindTcp(local, remote)?.User);
        Assert.Equal(User(), kernel.FindTcp(remote, local)?.User);
        Assert.NotEqual(0UL, kernel.FindTcp(local, remote)?.Cgroup);
    }

    [Fact]
    public void Nobody_owns_what_is_closed_or_never_was_or_only_listens()
    {
        using var kernel = SocketDiag.Open(_limit);
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var remote = (IPEndPoint)listener.LocalEndpoint;
        Assert.Null(kernel.FindTcp(new IPEndPoint(IPAddress.Loopback, 1), remote));
        Assert.Null(kernel.FindTcp(remote, new IPEndPoint(IPAddress.Loopback, 1)));

        using var client = new TcpClient(AddressFamily.InterNetwork);
        client.Connect(remote);
        using var accepted = listener.AcceptSocket();
        var local = (IPEndPoint)client.Client.LocalEndPoint!;
        Assert.NotNull(kernel.FindTcp(local, remote));

        // The kernel says user 0 of a socket whose process has closed it: that is not root.
        client.Close();
        Assert.Null(kernel.FindTcp(local, remote));
        Assert.Null(kernel.FindTcp(new IPEndPoint(IPAddress.Parse("127.0.0.2"), local.Port), remote));
    }

    [Fact]
    public void An_answer_that_is_cut_or_of_another_socket_is_no_owner()
    {
        var (local, remote) = (new IPEndPoint(IPAddress.Loopback, 0x1234), new IPEndPoint(IPAddress.Loopback, 0x5678));
        byte[] Answer(byte state = 1, byte port = 0x34, uint inode = 7, params byte[] more)
        {
            byte[] bytes = [.. new byte[72], .. more];
            (bytes[0], bytes[1], bytes[4], bytes[5], bytes[6], bytes[7]) = (2, state, 0x12, port, 0x56, 0x78);
            MemoryMarshal.Write(bytes.AsSpan(64), 1000u);
            MemoryMarshal.Write(bytes.AsSpan(68), inode);
            return bytes;
        }

        SocketOwner? Read(byte[] bytes) => SocketDiag.Read(new NetlinkFrame(20, 0, 1, 1, bytes), local, remote);
        Assert.Equal(new SocketOwner(1000, 0), Read(Answer()));
        Assert.Equal(new SocketOwner(1000, 0x0102), Read(Answer(more: [12, 0, 21, 0, 2, 1, 0, 0, 0, 0, 0, 0])));
        Assert.Null(Read(Answer(state: 10)));
        Assert.Null(Read(Answer(state: 6)));
        Assert.Null(Read(Answer(port: 0x35)));
        Assert.Null(Read(Answer(inode: 0)));
        Assert.Throws<InvalidDataException>(() => Read(new byte[71]));
        Assert.Throws<InvalidDataException>(() => Read(Answer(more: [12, 0, 21])));
        Assert.Throws<InvalidDataException>(() => Read(Answer(more: [8, 0, 21, 0, 1, 2, 3, 4])));

        var random = new Random(20_261_127);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = Answer(more: new byte[random.Next(30)]);
            for (var edits = random.Next(6); edits > 0; edits--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            try
            {
                Read(bytes[..random.Next(60, bytes.Length + 1)]);
            }
            catch (InvalidDataException)
            {
                // As it may.
            }
        }
    }
}
