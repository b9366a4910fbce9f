using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Fabric.Lab.TunnelBench;

/// <summary>Which of many sockets have something to read. A socket that is closed leaves by itself.</summary>
internal sealed unsafe class Epoll : IDisposable
{
    private const int EPOLL_CTL_ADD = 1;
    private const int EPOLL_CTL_DEL = 2;
    private const int EPOLLIN = 1;
    private const int EPOLL_CLOEXEC = 0x80000;
    private const int AtOnce = 256;

    // struct epoll_event: 4 bytes of events, then 8 of ours; packed on x86-64 alone.
    private static readonly int Data = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 4 : 8;
    private static readonly int Size = Data + 8;

    private readonly int _epoll = Libc.Checked(Libc.epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    private readonly byte[] _events = new byte[AtOnce * Size];
    private readonly int[] _ready = new int[AtOnce];

    public void Add(int fd)
    {
        var change = stackalloc byte[Size];
        *(int*)change = EPOLLIN;
        *(long*)(change + Data) = fd;
        Libc.Checked(Libc.epoll_ctl(_epoll, EPOLL_CTL_ADD, fd, change), "epoll_ctl");
    }

    public void Remove(int fd)
    {
        var change = stackalloc byte[Size];
        Libc.Checked(Libc.epoll_ctl(_epoll, EPOLL_CTL_DEL, fd, change), "epoll_ctl");
    }

    /// <summary>Waits up to a tenth of a second, so that whoever asks sees soon that it must stop. Valid until the next call.</summary>
    public ReadOnlySpan<int> Wait()
    {
        int count;
        fixed (byte* events = _events)
        {
            count = Math.Max(0, Libc.epoll_wait(_epoll, events, AtOnce, 100));
        }

        for (var i = 0; i < count; i++)
        {
            _ready[i] = BinaryPrimitives.ReadInt32LittleEndian(_events.AsSpan(i * Size + Data));
        }

        return _ready.AsSpan(0, count);
    }

    public void Dispose() => Libc.close(_epoll);
}
