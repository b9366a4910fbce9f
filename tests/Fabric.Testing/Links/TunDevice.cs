using System.Text;

namespace Fabric.Testing.Links;

/// <summary>
/// A TUN device: what the kernel routes to it is read here, and what is written here arrives from it. Made in the namespace of the
/// caller; it keeps working when it is moved to another (<c>ip link set NAME netns OTHER</c>). It is gone when it is disposed.
/// Linux, with CAP_NET_ADMIN.
/// </summary>
public sealed unsafe class TunDevice : IDisposable
{
    private const nuint TunSetIff = 0x400454ca;
    private const nuint TunSetOffload = 0x400454d0;
    private const short Tun = 0x0001;
    private const short NoPacketInformation = 0x1000;
    private const short VnetHeader = 0x4000;

    // Checksums left out, and TCP over IPv4 and IPv6 left in pieces of up to 64 KiB.
    private const nint Offloads = 0x01 | 0x02 | 0x04;

    private readonly int _fd;
    private bool _disposed;

    /// <param name="name">Of the interface, at most 15 characters.</param>
    /// <param name="segmentsTogether">
    /// TCP crosses it in pieces of up to 64 KiB with a header that says how to cut them (IFF_VNET_HDR), as between real network cards.
    /// A tenth of the work; but one lost packet is then a whole piece.
    /// </param>
    public TunDevice(string name, bool segmentsTogether)
    {
        if (name.Length is 0 or > 15)
        {
            throw new ArgumentException($"'{name}': an interface name has 1 to 15 characters", nameof(name));
        }

        Name = name;
        HeaderLength = segmentsTogether ? 10 : 0;
        _fd = Posix.open("/dev/net/tun", Posix.O_RDWR | Posix.O_NONBLOCK | Posix.O_CLOEXEC);
        if (_fd < 0)
        {
            throw Posix.Failure("open", "/dev/net/tun");
        }

        // struct ifreq: the name, then the flags.
        var request = stackalloc byte[40];
        new Span<byte>(request, 40).Clear();
        Encoding.ASCII.GetBytes(name, new Span<byte>(request, 15));
        *(short*)(request + 16) = (short)(Tun | NoPacketInformation | (segmentsTogether ? VnetHeader : 0));
        if (Posix.ioctl(_fd, TunSetIff, request) != 0 || segmentsTogether && Posix.ioctl(_fd, TunSetOffload, Offloads) != 0)
        {
            var failure = Posix.Failure("making the TUN device", name);
            Dispose();
            throw failure;
        }
    }

    public string Name { get; }

    /// <summary>Bytes before the IP packet in what is read and written.</summary>
    public int HeaderLength { get; }

    internal int Descriptor => _fd;

    /// <summary>Reads one packet; −1 when there is none.</summary>
    public int Read(Span<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            return (int)Posix.read(_fd, bytes, (nuint)buffer.Length);
        }
    }

    /// <summary>Hands one packet to the kernel; false when it does not take it: the interface is down.</summary>
    public bool Write(ReadOnlySpan<byte> packet)
    {
        fixed (byte* bytes = packet)
        {
            return Posix.write(_fd, bytes, (nuint)packet.Length) == packet.Length;
        }
    }

    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _ = Posix.close(_fd);
        }
    }
}
