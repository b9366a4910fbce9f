using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Fabric.Gateway.Faults;

/// <summary>A network device whose packets this process reads and writes; gone when it is closed, or when this process ends.</summary>
internal sealed partial class TunDevice : IDisposable
{
    private const string Clone = "/dev/net/tun";
    private const int ReadWrite = 2, NonBlocking = 0x800, CloseOnExec = 0x80000;
    private const ulong SetInterface = 0x400454CA;
    private const short Tun = 1, NoHeader = 0x1000;
    private const short PollIn = 1;

    private readonly SafeFileHandle _file;

    private TunDevice(string name, SafeFileHandle file) => (Name, _file) = (name, file);

    public string Name { get; }

    public static bool Exists => File.Exists(Clone);

    /// <summary>Throws <see cref="IOException"/>.</summary>
    public static TunDevice Open(string name)
    {
        var file = new SafeFileHandle(open(Clone, ReadWrite | NonBlocking | CloseOnExec), ownsHandle: true);
        Span<byte> request = stackalloc byte[40];
        request.Clear();
        Encoding.ASCII.GetBytes(name, request);
        MemoryMarshal.Write(request[16..], (short)(Tun | NoHeader));
        if (file.IsInvalid || ioctl(file, SetInterface, request) < 0)
        {
            var reason = Marshal.GetLastPInvokeErrorMessage();
            file.Dispose();
            throw new IOException($"no device {name} could be made of {Clone}: {reason}");
        }

        return new TunDevice(name, file);
    }

    /// <summary>Waits until there is a packet, at most so long.</summary>
    public void Wait(TimeSpan limit)
    {
        var waited = new PollEntry { Descriptor = (int)_file.DangerousGetHandle(), Events = PollIn };
        var time = new TimeSpec { Seconds = (nint)Math.Floor(limit.TotalSeconds), Nanoseconds = (nint)(limit.Ticks % TimeSpan.TicksPerSecond * 100) };
        _ = ppoll(ref waited, 1, ref time, 0);
    }

    /// <summary>Length of the packet; 0 or less: there is none now.</summary>
    public int Read(Span<byte> buffer) => (int)read(_file, buffer, (nuint)buffer.Length);

    /// <summary>As if it had arrived here.</summary>
    public void Write(ReadOnlySpan<byte> packet) => _ = write(_file, packet, (nuint)packet.Length);

    public void Dispose() => _file.Dispose();

    [StructLayout(LayoutKind.Sequential)]
    private struct PollEntry
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public nint Seconds;
        public nint Nanoseconds;
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint open(string path, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(SafeFileHandle descriptor, ulong request, Span<byte> argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ppoll(ref PollEntry entries, ulong count, ref TimeSpec limit, nint mask);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(SafeFileHandle descriptor, Span<byte> buffer, nuint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(SafeFileHandle descriptor, ReadOnlySpan<byte> buffer, nuint length);
}
