using System.Runtime.InteropServices;

namespace Fabric.Overlay.Netlink;

/// <summary>
/// A netlink socket and its requests. The kernel answers within the send, so calls block for microseconds; a timeout bounds
/// them all the same. Not safe for concurrent use. The socket stays in the network namespace in which it was opened.
/// </summary>
internal sealed partial class NetlinkSocket : IDisposable
{
    public const int RouteProtocol = 0, GenericProtocol = 16;

    private const int FamilyNetlink = 16, TypeRaw = 3, CloseOnExec = 0x80000;
    private const int LevelSocket = 1, ReceiveTimeout = 20, LevelNetlink = 270;
    private const int CapAck = 10, ExtendedAck = 11, StrictCheck = 12;
    private const int Truncated = 0x20;
    private const int Interrupted = 4, TryAgain = 11, NotPermitted = 1;

    /// <summary>Kernels write dumps in pieces of at most 32 KiB.</summary>
    private const int ReceiveBuffer = 64 << 10;

    /// <summary>An answer is larger than any that Fabric asks for (4,096 peers are about 2 MiB): stop.</summary>
    private const int MaxAnswer = 64 << 20;
    private const int MaxDumpAttempts = 5;

    private readonly byte[] _buffer = new byte[ReceiveBuffer];
    private int _descriptor;
    private uint _port;
    private uint _sequence;

    private NetlinkSocket(int descriptor) => _descriptor = descriptor;

    public static NetlinkSocket Open(int protocol, TimeSpan timeout)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new OverlayException(OverlayStage.Driver, "netlink exists on Linux only");
        }

        var descriptor = socket(FamilyNetlink, TypeRaw | CloseOnExec, protocol);
        if (descriptor < 0)
        {
            throw Failure(OverlayStage.Driver, "open a netlink socket", Marshal.GetLastPInvokeError(), null);
        }

        var opened = new NetlinkSocket(descriptor);
        try
        {
            opened.Bind(protocol, timeout);
            return opened;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Sends, and returns the messages of the answer (none for a plain acknowledgement). A dump that the kernel calls
    /// inconsistent is asked again. Throws <see cref="OverlayException"/> with errno and the kernel's own text.
    /// </summary>
    /// <param name="message">The request; it is overwritten after use.</param>
    /// <param name="stage">Of the exception.</param>
    /// <param name="what">Completes "cannot …".</param>
    public List<NetlinkFrame> Request(NetlinkMessage message, OverlayStage stage, string what)
    {
        try
        {
            for (var attempt = 1; ; attempt++)
            {
                Send(message, stage, what);
                var (frames, interrupted) = Receive(stage, what);
                if (!interrupted)
                {
                    return frames;
                }

                if (attempt == MaxDumpAttempts)
                {
                    throw new OverlayException(stage, $"cannot {what}: it changed during {attempt} readings in a row; try again");
                }
            }
        }
        catch (InvalidDataException e)
        {
            throw new OverlayException(stage, $"cannot {what}: the kernel's answer is malformed ({e.Message})", 0, e);
        }
        finally
        {
            message.Clear();
        }
    }

    public void Dispose()
    {
        if (_descriptor >= 0)
        {
            _ = close(_descriptor);
            _descriptor = -1;
        }
    }

    private void Bind(int protocol, TimeSpan timeout)
    {
        Span<byte> address = stackalloc byte[12];
        address.Clear();
        MemoryMarshal.Write(address, (ushort)FamilyNetlink);
        var length = address.Length;
        if (bind(_descriptor, address, length) < 0 || getsockname(_descriptor, address, ref length) < 0)
        {
            throw Failure(OverlayStage.Driver, "bind a netlink socket", Marshal.GetLastPInvokeError(), null);
        }

        _port = MemoryMarshal.Read<uint>(address[4..]);
        Span<long> wait = [(long)timeout.TotalSeconds, timeout.Microseconds + 1000L * timeout.Milliseconds];
        if (setsockopt(_descriptor, LevelSocket, ReceiveTimeout, MemoryMarshal.AsBytes(wait), 16) < 0)
        {
            throw Failure(OverlayStage.Driver, "set a netlink timeout", Marshal.GetLastPInvokeError(), null);
        }

        // Older kernels lack these; the answers are then less detailed, and dumps are filtered here.
        Span<int> on = [1];
        _ = setsockopt(_descriptor, LevelNetlink, CapAck, MemoryMarshal.AsBytes(on), 4);
        _ = setsockopt(_descriptor, LevelNetlink, ExtendedAck, MemoryMarshal.AsBytes(on), 4);
        if (protocol == RouteProtocol)
        {
            _ = setsockopt(_descriptor, LevelNetlink, StrictCheck, MemoryMarshal.AsBytes(on), 4);
        }
    }

    private void Send(NetlinkMessage message, OverlayStage stage, string what)
    {
        // A dump ends with its own verdict, and a plain request with an acknowledgement.
        var bytes = message.Finish(++_sequence, _port, acknowledge: !message.IsDump);
        nint sent;
        while ((sent = send(_descriptor, bytes, (nuint)bytes.Length, 0)) < 0 && Marshal.GetLastPInvokeError() == Interrupted)
        {
        }

        if (sent != bytes.Length)
        {
            throw Failure(stage, what, sent < 0 ? Marshal.GetLastPInvokeError() : 0, null);
        }
    }

    private (List<NetlinkFrame> Frames, bool Interrupted) Receive(OverlayStage stage, string what)
    {
        var frames = new List<NetlinkFrame>();
        var (total, interrupted) = (0, false);
        while (true)
        {
            var datagram = ReceiveDatagram(stage, what);
            total += datagram.Length;
            if (total > MaxAnswer)
            {
                throw new OverlayException(stage, $"cannot {what}: the kernel's answer is larger than {MaxAnswer >> 20} MiB");
            }

            foreach (var frame in NetlinkReader.Frames(datagram))
            {
                // An answer to an earlier request that timed out.
                if (frame.Sequence != _sequence || frame.Port != _port)
                {
                    continue;
                }

                interrupted |= (frame.Flags & NetlinkReader.FlagDumpInterrupted) != 0;
                if (frame.Type is NetlinkReader.Error or NetlinkReader.Done)
                {
                    var verdict = NetlinkReader.Verdict(frame);
                    return verdict.Errno == 0 ? (frames, interrupted) : throw Failure(stage, what, verdict.Errno, verdict.Text);
                }

                if (frame.Type != NetlinkReader.Noop)
                {
                    frames.Add(frame);
                }
            }
        }
    }

    private ReadOnlyMemory<byte> ReceiveDatagram(OverlayStage stage, string what)
    {
        Span<byte> sender = stackalloc byte[12];
        while (true)
        {
            var length = sender.Length;
            var received = recvfrom(_descriptor, _buffer, (nuint)_buffer.Length, Truncated, sender, ref length);
            if (received < 0)
            {
                var errno = Marshal.GetLastPInvokeError();
                if (errno == Interrupted)
                {
                    continue;
                }

                throw errno == TryAgain
                    ? new OverlayException(stage, $"cannot {what}: the kernel did not answer in time", errno)
                    : Failure(stage, what, errno, null);
            }

            if (received > _buffer.Length)
            {
                throw new OverlayException(stage,
                    $"cannot {what}: an answer of {received} bytes; the buffer has {_buffer.Length}");
            }

            // Port 0 is the kernel: any process may send to a netlink socket.
            if (MemoryMarshal.Read<uint>(sender[4..]) == 0)
            {
                return _buffer.AsMemory(0, (int)received).ToArray();
            }
        }
    }

    private static OverlayException Failure(OverlayStage stage, string what, int errno, string? text)
    {
        var detail = text is null ? "" : $", {text}";
        var hint = errno == NotPermitted ? "; it needs root or CAP_NET_ADMIN (interconnect links work without)" : "";
        return new(stage, $"cannot {what}: {Marshal.GetPInvokeErrorMessage(errno)} (errno {errno}{detail}){hint}", errno);
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socket(int domain, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int descriptor, ReadOnlySpan<byte> address, int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getsockname(int descriptor, Span<byte> address, ref int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int descriptor, int level, int option, ReadOnlySpan<byte> value, int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(int descriptor, ReadOnlySpan<byte> bytes, nuint length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvfrom(int descriptor, Span<byte> buffer, nuint length, int flags, Span<byte> sender,
        ref int size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int descriptor);
}
