using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Overlay.Netlink;

/// <summary>Whose socket it is, as the kernel says.</summary>
/// <param name="User">The user that made it, as this process's user namespace numbers users.</param>
/// <param name="Cgroup">Number of the cgroup (version 2) that made it; 0 when the kernel does not say.</param>
public readonly record struct SocketOwner(uint User, ulong Cgroup);

/// <summary>
/// Asks the kernel for the owner of a connection's other end on this machine, by its exact addresses (linux/inet_diag.h). It needs no privilege. Not
/// safe for concurrent use; it sees the network namespace in which it was opened.
/// </summary>
public sealed class SocketDiag : IDisposable
{
    private const int Protocol = 4;
    private const ushort ByFamily = 20;
    private const int RequestSize = 56, AnswerSize = 72;
    private const int NoEntry = 2;
    private const ushort CgroupId = 21;

    private readonly NetlinkSocket _socket;

    private SocketDiag(NetlinkSocket socket) => _socket = socket;

    /// <summary>Throws <see cref="OverlayException"/> where there is no such thing.</summary>
    /// <param name="timeout">For each answer.</param>
    public static SocketDiag Open(TimeSpan timeout) => new(NetlinkSocket.Open(Protocol, timeout));

    /// <summary>
    /// The owner of the TCP socket at <paramref name="local"/> that is connected to <paramref name="remote"/>; null when there is none, or its process has
    /// closed it: then nobody owns it. Throws <see cref="OverlayException"/> when the kernel does not say.
    /// </summary>
    public SocketOwner? FindTcp(IPEndPoint local, IPEndPoint remote)
    {
        try
        {
            return _socket.Request(Ask(local, remote), OverlayStage.Driver, $"find the owner of {local}")
                .Where(f => f.Type == ByFamily).Select(f => Read(f, local, remote)).FirstOrDefault(o => o is not null);
        }
        catch (OverlayException e) when (e.Errno == NoEntry)
        {
            return null;
        }
    }

    public void Dispose() => _socket.Dispose();

    internal static NetlinkMessage Ask(IPEndPoint local, IPEndPoint remote)
    {
        Span<byte> request = stackalloc byte[RequestSize];
        request.Clear();
        request[0] = (byte)(local.AddressFamily == AddressFamily.InterNetworkV6 ? 10 : 2);
        request[1] = 6;
        request[4..8].Fill(0xff);
        BinaryPrimitives.WriteUInt16BigEndian(request[8..], (ushort)local.Port);
        BinaryPrimitives.WriteUInt16BigEndian(request[10..], (ushort)remote.Port);
        local.Address.TryWriteBytes(request[12..], out _);
        remote.Address.TryWriteBytes(request[28..], out _);

        // Any cookie.
        request[48..56].Fill(0xff);
        return new NetlinkMessage(ByFamily, 0).Body(request);
    }

    /// <summary>
    /// Null when it is not that connection (where there is none, the kernel answers with who listens at the address), or is nobody's: a socket without an
    /// inode says user 0, and is not root's.
    /// </summary>
    internal static SocketOwner? Read(NetlinkFrame answer, IPEndPoint local, IPEndPoint remote)
    {
        if (answer.Payload.Length < AnswerSize)
        {
            throw new InvalidDataException($"an answer about a socket has {answer.Payload.Length} bytes, not {AnswerSize}");
        }

        var bytes = answer.Payload.Span;
        const int Established = 1, SynSent = 2, FinWait1 = 4, FinWait2 = 5, CloseWait = 8;
        if (bytes[1] is not (Established or SynSent or FinWait1 or FinWait2 or CloseWait)
            || BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]) != local.Port || BinaryPrimitives.ReadUInt16BigEndian(bytes[6..]) != remote.Port
            || NetlinkReader.Read<uint>(bytes, 68) == 0)
        {
            return null;
        }

        var cgroup = NetlinkReader.Attributes(answer, AnswerSize).Where(a => a.Type == CgroupId).Select(a => a.Read<ulong>()).FirstOrDefault();
        return new SocketOwner(NetlinkReader.Read<uint>(bytes, 64), cgroup);
    }
}
