using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Fabric.Gateway.Control.Transport;

/// <summary>
/// Unix sockets that only their owner may connect to (file 0600), or a group as well (0660), created where a run before left its own behind.
/// Two daemons that start at one path in the same instant are not told apart here: the daemon's lock on its state does that.
/// </summary>
public static class UnixSocket
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode GroupToo = OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;
    private const UnixFileMode OthersMayWrite = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

    /// <summary>
    /// A socket bound to <paramref name="endPoint"/> and not listening yet, for Kestrel's socket transport. The mode is set
    /// before anyone can connect. A missing folder is created, 0700. Throws <see cref="IOException"/> when somebody listens
    /// there, when what is there is no stale socket, when others may write into the folder, or when the group does not exist.
    /// </summary>
    /// <param name="endPoint">Of a unix socket; others are bound as Kestrel does it.</param>
    /// <param name="group">Name of the group that may connect; it is let through the folder, and no further. Null: the owner alone.</param>
    public static Socket Bind(EndPoint endPoint, string? group = null)
    {
        if (endPoint is not UnixDomainSocketEndPoint || endPoint.ToString() is not { Length: > 0 } path || path[0] is '@' or '\0')
        {
            return SocketTransportOptions.CreateDefaultBoundListenSocket(endPoint);
        }

        uint? members = group is null || OperatingSystem.IsWindows() ? null : UnixGroup.Find(group);
        EnsureFolder(Path.GetDirectoryName(Path.GetFullPath(path))!, members);
        RemoveStale(path);
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(endPoint);
            if (!OperatingSystem.IsWindows())
            {
                if (members is { } number)
                {
                    // First: no other group is to have it in between.
                    UnixGroup.Give(path, number);
                }

                File.SetUnixFileMode(path, members is null ? OwnerOnly : GroupToo);
            }

            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static void EnsureFolder(string folder, uint? group)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder);
            return;
        }

        Directory.CreateDirectory(folder, OwnerOnly | UnixFileMode.UserExecute);
        var mode = File.GetUnixFileMode(folder);
        if ((mode & OthersMayWrite) != 0 && (mode & UnixFileMode.StickyBit) == 0)
        {
            throw new IOException(
                $"others may write into '{folder}' and put a socket of theirs in place of this one: chmod go-w '{folder}'");
        }

        // Where everybody may look for names, so may the group.
        if (group is { } members && !mode.HasFlag(UnixFileMode.OtherExecute))
        {
            UnixGroup.Give(folder, members);
            File.SetUnixFileMode(folder, mode | UnixFileMode.GroupExecute);
        }
    }

    /// <summary>A socket file is empty and refuses connections when nobody listens; anything else is left alone.</summary>
    private static void RemoveStale(string path)
    {
        var file = new FileInfo(path);
        if (file.LinkTarget is not null || Directory.Exists(path) || file is { Exists: true, Length: > 0 })
        {
            throw new IOException($"'{path}' is no socket: move it away, or choose another path for the socket");
        }

        if (!file.Exists)
        {
            return;
        }

        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            file.Delete();
            return;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
        {
            // Its queue is full, so somebody listens.
        }

        throw new IOException($"somebody listens on '{path}': is the daemon running already?");
    }
}
