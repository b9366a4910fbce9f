using System.Net;
using System.Runtime.InteropServices;

namespace Fabric.Tunnel.Linux;

/// <summary>What the event loop asks of the kernel. Each returns −1 on failure; <see cref="Errno"/>, read at once, says why.</summary>
internal static unsafe partial class Libc
{
    public const int EINTR = 4;
    public const int EAGAIN = 11;
    public const int ENFILE = 23;
    public const int EMFILE = 24;
    public const int EINPROGRESS = 115;

    public const uint EpollIn = 1;
    public const uint EpollOut = 4;
    public const uint EpollError = 8;
    public const uint EpollHangUp = 16;
    public const uint EpollPeerClosed = 0x2000;
    public const uint EpollEdge = 1u << 31;

    public const int EpollAdd = 1;
    public const int EpollDelete = 2;

    public const int DontWait = 0x40;
    public const int NoSignal = 0x4000;
    public const int MoreFollows = 0x8000;
    public const int ShutdownWrite = 1;

    private const int NonBlocking = 0x800;
    private const int CloseOnExec = 0x80000;
    private const int SocketLevel = 1;
    private const int SocketError = 4;
    private const int SocketLinger = 13;
    private const int TcpLevel = 6;
    private const int TcpNoDelayOption = 1;
    private const int TcpInfoOption = 11;
    private const int TcpCongestionOption = 13;
    private const int GetFlags = 3;
    private const int SetFlags = 4;

    /// <summary>As the kernel lays it out on x86-64, where it is packed; elsewhere it is not.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 1)]
    public struct PackedEvent
    {
        public uint Events;
        public ulong Data;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Piece
    {
        public byte* Base;
        public nuint Length;
    }

    /// <summary>The peer's end or an error: no further edge tells of more.</summary>
    public static bool IsHangUp(uint events) => (events & (EpollPeerClosed | EpollHangUp | EpollError)) != 0;

    public static int Errno => Marshal.GetLastSystemError();

    public static string Explain(int errno) => Marshal.GetPInvokeErrorMessage(errno);

    [LibraryImport("libc", EntryPoint = "epoll_create1")]
    private static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl")]
    private static partial int EpollControl(int epoll, int operation, int fd, void* change);

    [LibraryImport("libc", EntryPoint = "epoll_wait")]
    public static partial int EpollWait(int epoll, void* events, int most, int milliseconds);

    [LibraryImport("libc", EntryPoint = "eventfd")]
    private static partial int EventFd(uint value, int flags);

    [LibraryImport("libc", EntryPoint = "read")]
    public static partial nint Read(int fd, void* buffer, nuint length);

    [LibraryImport("libc", EntryPoint = "write")]
    public static partial nint Write(int fd, void* buffer, nuint length);

    [LibraryImport("libc", EntryPoint = "recv")]
    public static partial nint Receive(int fd, void* buffer, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "send")]
    public static partial nint Send(int fd, void* buffer, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "readv")]
    public static partial nint ReadPieces(int fd, Piece* pieces, int count);

    [LibraryImport("libc", EntryPoint = "writev")]
    public static partial nint WritePieces(int fd, Piece* pieces, int count);

    [LibraryImport("libc", EntryPoint = "shutdown")]
    public static partial int Shutdown(int fd, int how);

    [LibraryImport("libc", EntryPoint = "close")]
    public static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "socket")]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "connect")]
    private static partial int Connect(int fd, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "accept4")]
    private static partial int Accept(int fd, byte* address, uint* length, int flags);

    [LibraryImport("libc", EntryPoint = "getsockopt")]
    private static partial int GetOption(int fd, int level, int option, void* value, uint* length);

    [LibraryImport("libc", EntryPoint = "setsockopt")]
    private static partial int SetOption(int fd, int level, int option, void* value, uint length);

    [LibraryImport("libc", EntryPoint = "fcntl")]
    private static partial int Control(int fd, int command, int argument);

    [LibraryImport("libc", EntryPoint = "usleep")]
    private static partial int SleepFor(uint microseconds);

    public static void Nap(uint microseconds) => _ = SleepFor(microseconds);

    public static int EpollChange(int epoll, int operation, int fd, uint events, ulong data)
    {
        if (RuntimeInformation.ProcessArchitecture == Architecture.X64)
        {
            var packed = new PackedEvent { Events = events, Data = data };
            return EpollControl(epoll, operation, fd, &packed);
        }

        var aligned = stackalloc ulong[2];
        aligned[0] = events;
        aligned[1] = data;
        return EpollControl(epoll, operation, fd, aligned);
    }

    public static int NewEpoll() => EpollCreate(CloseOnExec);

    public static int NewEventFd() => EventFd(0, NonBlocking | CloseOnExec);

    /// <summary>A non-blocking TCP socket, without delay, that begins to connect. Returns its descriptor, or −1.</summary>
    public static int BeginConnect(IPEndPoint remote)
    {
        var address = remote.Serialize();
        var fd = Socket((int)address.Buffer.Span[0], 1 | NonBlocking | CloseOnExec, 6);
        if (fd < 0)
        {
            return fd;
        }

        var on = 1;
        _ = SetOption(fd, TcpLevel, TcpNoDelayOption, &on, 4);
        fixed (byte* bytes = address.Buffer.Span)
        {
            if (Connect(fd, bytes, (uint)address.Size) < 0 && Errno != EINPROGRESS)
            {
                var errno = Errno;
                Close(fd);
                Marshal.SetLastSystemError(errno);
                return -1;
            }
        }

        return fd;
    }

    /// <summary>The next connection, non-blocking; −1 when there is none or it failed.</summary>
    public static int Accept(int listener, out IPEndPoint remote)
    {
        var bytes = stackalloc byte[28];
        var length = 28u;
        var fd = Accept(listener, bytes, &length, NonBlocking | CloseOnExec);
        remote = null!;
        if (fd >= 0)
        {
            var port = bytes[2] << 8 | bytes[3];
            remote = *(ushort*)bytes == 2
                ? new IPEndPoint(new IPAddress(new ReadOnlySpan<byte>(bytes + 4, 4)), port)
                : new IPEndPoint(new IPAddress(new ReadOnlySpan<byte>(bytes + 8, 16), *(uint*)(bytes + 24)), port);
        }

        return fd;
    }

    /// <summary>The error that waits on a socket; 0 for none.</summary>
    public static int PendingError(int fd)
    {
        int error;
        var length = 4u;
        return GetOption(fd, SocketLevel, SocketError, &error, &length) < 0 ? Errno : error;
    }

    public static void NoBlocking(int fd) => _ = Control(fd, SetFlags, Control(fd, GetFlags, 0) | NonBlocking);

    /// <summary>As <see cref="Drivers.Sockets.PreferCubic"/>.</summary>
    public static void PreferCubic(int fd)
    {
        var info = stackalloc byte[Drivers.Sockets.TcpInfoLength];
        var length = (uint)Drivers.Sockets.TcpInfoLength;
        if (GetOption(fd, TcpLevel, TcpInfoOption, info, &length) == 0 && Drivers.Sockets.IsNear(new ReadOnlySpan<byte>(info, (int)length)))
        {
            fixed (byte* name = Drivers.Sockets.Cubic)
            {
                _ = SetOption(fd, TcpLevel, TcpCongestionOption, name, (uint)Drivers.Sockets.Cubic.Length);
            }
        }
    }

    /// <summary>Closes so that the other side sees a reset.</summary>
    public static void Abort(int fd)
    {
        var linger = stackalloc int[2];
        (linger[0], linger[1]) = (1, 0);
        _ = SetOption(fd, SocketLevel, SocketLinger, linger, 8);
        _ = Close(fd);
    }
}
