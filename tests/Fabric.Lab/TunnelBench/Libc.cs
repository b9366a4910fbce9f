using System.Net;
using System.Runtime.InteropServices;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>
/// Sockets by the kernel's own calls. The load shares the cores with what it measures: what the load costs less, the figures tell more.
/// </summary>
internal static unsafe partial class Libc
{
    public const int MSG_DONTWAIT = 0x40;
    public const int MSG_TRUNC = 0x20;
    public const int EAGAIN = 11;

    private const int AF_INET = 2;
    private const int SOCK_STREAM = 1;
    private const int SOCK_NONBLOCK = 0x800;
    private const int SOCK_CLOEXEC = 0x80000;
    private const int SOL_SOCKET = 1;
    private const int SO_REUSEADDR = 2;
    private const int SO_RCVTIMEO = 20;
    private const int SHUT_RDWR = 2;

    /// <summary>A blocking connection; on loopback it is there at once, or refused. What it waits for longer than 10 s fails.</summary>
    public static int Connect(byte[] address)
    {
        var fd = Checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
        var limit = stackalloc nint[] { 10, 0 };
        Checked(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, limit, 2 * sizeof(nint)), "setsockopt");
        fixed (byte* a = address)
        {
            if (connect(fd, a, address.Length) < 0)
            {
                var failure = Failure("connect");
                close(fd);
                throw failure;
            }
        }

        return fd;
    }

    /// <summary>A listener whose <see cref="Accept"/> does not block.</summary>
    public static int Listen(byte[] address)
    {
        var fd = Checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
        var on = 1;
        Checked(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(int)), "setsockopt");
        fixed (byte* a = address)
        {
            Checked(bind(fd, a, address.Length), "bind");
        }

        Checked(listen(fd, 4096), "listen");
        return fd;
    }

    /// <summary>The next connection, which blocks; negative when there is none.</summary>
    public static int Accept(int listener) => accept4(listener, null, null, SOCK_CLOEXEC);

    /// <summary>Sends all of it, and says whether it could.</summary>
    public static bool Send(int fd, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* b = bytes)
        {
            for (var sent = 0; sent < bytes.Length;)
            {
                var count = send(fd, b + sent, (nuint)(bytes.Length - sent), 0);
                if (count <= 0)
                {
                    return false;
                }

                sent += (int)count;
            }
        }

        return true;
    }

    public static int Receive(int fd, Span<byte> bytes, int flags)
    {
        fixed (byte* b = bytes)
        {
            return (int)recv(fd, b, (nuint)bytes.Length, flags);
        }
    }

    /// <summary>Takes what has come, up to so many bytes, without copying it anywhere.</summary>
    public static long Discard(int fd, int bytes) => recv(fd, null, (nuint)bytes, MSG_TRUNC);

    /// <summary>A file in memory.</summary>
    public static int File(ReadOnlySpan<byte> content)
    {
        var fd = Checked(memfd_create("load", 0), "memfd_create");
        fixed (byte* b = content)
        {
            for (var written = 0; written < content.Length;)
            {
                written += (int)Checked(write(fd, b + written, (nuint)(content.Length - written)), "write");
            }
        }

        return fd;
    }

    /// <summary>Sends the file from an offset to its end, without copying it; 0 or less when the peer takes no more.</summary>
    public static long SendFile(int fd, int file, long offset, long bytes) => sendfile(fd, file, &offset, (nuint)bytes);

    /// <summary>Wakes whoever blocks on it.</summary>
    public static void Shutdown(int fd) => shutdown(fd, SHUT_RDWR);

    public static byte[] Native(IPEndPoint address)
    {
        var native = address.Serialize();
        return native.Buffer[..native.Size].ToArray();
    }

    public static LabException Failure(string call) => new($"{call}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    public static int Checked(int result, string call) => result >= 0 ? result : throw Failure(call);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int close(int fd);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int epoll_ctl(int epoll, int operation, int fd, byte* change);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int epoll_wait(int epoll, byte* events, int count, int milliseconds);

    private static nint Checked(nint result, string call) => result >= 0 ? result : throw Failure(call);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socket(int family, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int fd, int level, int option, void* value, int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int connect(int fd, byte* address, int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, byte* address, int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int listen(int fd, int backlog);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int accept4(int fd, byte* address, int* length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int shutdown(int fd, int how);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(int fd, byte* bytes, nuint length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(int fd, byte* bytes, nuint length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int fd, byte* bytes, nuint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendfile(int to, int from, long* offset, nuint length);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int memfd_create(string name, uint flags);
}
