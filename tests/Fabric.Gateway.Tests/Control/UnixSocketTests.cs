using System.Net.Sockets;
using Fabric.Gateway.Control.Transport;

namespace Fabric.Gateway.Tests.Control;

[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class UnixSocketTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-unix-").FullName;

    private string SocketPath => Path.Combine(_folder, "run", "s");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Socket_and_its_folder_are_their_owners_only()
    {
        using var socket = Bind();

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(SocketPath));
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
            File.GetUnixFileMode(Path.GetDirectoryName(SocketPath)!));
    }

    [Fact]
    public void Stale_socket_is_replaced()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(SocketPath)!);
        LeaveStale(SocketPath);
        Assert.True(File.Exists(SocketPath));

        using var socket = Bind();
        socket.Listen();
        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(new UnixDomainSocketEndPoint(SocketPath));
    }

    [Fact]
    public void Socket_that_somebody_listens_on_stays()
    {
        using var first = Bind();
        first.Listen();

        Assert.Contains("somebody listens", Assert.Throws<IOException>(Bind).Message, StringComparison.Ordinal);

        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(new UnixDomainSocketEndPoint(SocketPath));
    }

    [Fact]
    public void Socket_with_a_full_queue_stays()
    {
        using var first = Bind();
        first.Listen(0);
        List<Socket> waiting = [];
        try
        {
            Assert.Throws<SocketException>(() =>
            {
                for (var i = 0; i < 100; i++)
                {
                    waiting.Add(new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false });
                    waiting[^1].Connect(new UnixDomainSocketEndPoint(SocketPath));
                }
            });

            Assert.Contains("somebody listens", Assert.Throws<IOException>(Bind).Message, StringComparison.Ordinal);
        }
        finally
        {
            waiting.ForEach(s => s.Dispose());
        }
    }

    [Fact]
    public void What_is_no_socket_stays()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(SocketPath)!);
        File.WriteAllText(SocketPath, "precious");

        Assert.Contains("is no socket", Assert.Throws<IOException>(Bind).Message, StringComparison.Ordinal);
        Assert.Equal("precious", File.ReadAllText(SocketPath));

        File.Delete(SocketPath);
        File.CreateSymbolicLink(SocketPath, Path.Combine(_folder, "elsewhere"));
        Assert.Contains("is no socket", Assert.Throws<IOException>(Bind).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Folder_that_others_may_write_into_is_refused()
    {
        var folder = Path.GetDirectoryName(SocketPath)!;
        Directory.CreateDirectory(folder);
        File.SetUnixFileMode(folder, File.GetUnixFileMode(folder) | UnixFileMode.OtherWrite);

        Assert.Contains("chmod go-w", Assert.Throws<IOException>(Bind).Message, StringComparison.Ordinal);
    }

    private Socket Bind() => UnixSocket.Bind(new UnixDomainSocketEndPoint(SocketPath));

    /// <summary>A socket file whose process went without removing it: bound under another name, then moved.</summary>
    private static void LeaveStale(string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(path + ".was"));
        File.Move(path + ".was", path);
    }
}
