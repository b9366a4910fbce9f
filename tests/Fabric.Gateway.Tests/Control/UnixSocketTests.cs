using System.Diagnostics;
using System.Net.Sockets;
using Fabric.Gateway.Control.Transport;
using Fabric.Testing;

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

    [RequiresFact("root", "setpriv", "curl")]
    public void Members_of_its_group_may_connect_and_nobody_else()
    {
        // Debian's "daemon" is group 1 everywhere.
        File.SetUnixFileMode(_folder, File.GetUnixFileMode(_folder) | UnixFileMode.OtherExecute);
        using var socket = UnixSocket.Bind(new UnixDomainSocketEndPoint(SocketPath), "daemon");
        socket.Listen();

        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite, File.GetUnixFileMode(SocketPath));
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupExecute,
            File.GetUnixFileMode(Path.GetDirectoryName(SocketPath)!));
        Assert.Equal((TimedOut, CannotConnect), (Curl(group: 1), Curl(group: 65_534)));
    }

    [Fact]
    public void Group_that_does_not_exist_is_an_error_and_nothing_is_made()
    {
        var error = Assert.Throws<IOException>(() => UnixSocket.Bind(new UnixDomainSocketEndPoint(SocketPath), "no-such-group"));
        Assert.Contains("there is no group 'no-such-group'", error.Message, StringComparison.Ordinal);
        Assert.Contains("groupadd", error.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.GetDirectoryName(SocketPath)));
    }

    private const int CannotConnect = 7;
    private const int TimedOut = 28;

    /// <summary>Exit code of a client that is nobody, in that group alone.</summary>
    private int Curl(int group)
    {
        using var client = Process.Start("setpriv", ["--reuid=65534", $"--regid={group}", "--clear-groups",
            "curl", "--silent", "--max-time", "1", "--unix-socket", SocketPath, "http://fabric/"]);
        client.WaitForExit();
        return client.ExitCode;
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
