using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>
/// Receives and sends datagrams by the dozen, one system call for each (recvmmsg(2), sendmmsg(2)). An answer leaves from the address
/// that its query came to, also on a wildcard socket (IP_PKTINFO). For one thread; allocates nothing after it was made.
/// </summary>
[SupportedOSPlatform("linux")]
internal sealed unsafe partial class DnsLinuxUdp : IDisposable
{
    /// <summary>Datagrams received at once, at most.</summary>
    public const int Batch = 32;

    /// <summary>What <see cref="Receive"/> says where the system, or a sandbox, does not have the call.</summary>
    public const int Unsupported = -2;


    // A longer query is cut, and then malformed: nobody may send more than the 1,232 bytes that this server offers.
    private const int QueryBuffer = 4096;
    private const int AddressBuffer = 32;
    private const int ControlBuffer = 64;

    private const int SolSocket = 1;
    private const int SoReusePort = 15;
    private const int SoReceiveTimeout = 20;
    private const int IpLevel = 0;
    private const int IpPacketInfo = 8;
    private const int Ipv6Level = 41;
    private const int Ipv6ReceivePacketInfo = 49;
    private const int WaitForOne = 0x10000;
    private const int NotPermitted = 1;
    private const int NotImplemented = 38;
    private const int Interrupted = 4;
    private const int TryAgain = 11;

    private readonly Socket _socket;
    private readonly bool _wildcard;
    private readonly byte* _memory;
    private readonly Message* _in;
    private readonly Message* _out;
    private bool _held;

    public DnsLinuxUdp(Socket socket)
    {
        _socket = socket;
        var address = ((IPEndPoint)socket.LocalEndPoint!).Address;
        _wildcard = address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);
        if (_wildcard)
        {
            var (level, option) = socket.AddressFamily == AddressFamily.InterNetwork
                ? (IpLevel, IpPacketInfo) : (Ipv6Level, Ipv6ReceivePacketInfo);
            socket.SetRawSocketOption(level, option, BitConverter.GetBytes(1));
        }

        // So that a stop is noticed even if nothing wakes the thread.
        socket.SetRawSocketOption(SolSocket, SoReceiveTimeout, MemoryMarshal.AsBytes<nint>(new nint[] { 1, 0 }));
        var each = QueryBuffer + DnsResponder.UdpBuffer + AddressBuffer + ControlBuffer;
        var structures = 2 * Batch * (sizeof(Message) + sizeof(Vector));
        _memory = (byte*)NativeMemory.AllocZeroed((nuint)(structures + Batch * each));
        _in = (Message*)_memory;
        _out = _in + Batch;
        var vectors = (Vector*)(_out + Batch);
        var buffers = _memory + structures;
        for (var i = 0; i < Batch; i++, buffers += each)
        {
            vectors[2 * i] = new Vector { Base = buffers, Length = QueryBuffer };
            vectors[2 * i + 1] = new Vector { Base = buffers + QueryBuffer };
            _in[i] = new Message
            {
                Vectors = vectors + 2 * i,
                VectorCount = 1,
                Name = buffers + QueryBuffer + DnsResponder.UdpBuffer,
                Control = _wildcard ? buffers + QueryBuffer + DnsResponder.UdpBuffer + AddressBuffer : null,
            };
        }

        socket.SafeHandle.DangerousAddRef(ref _held);
    }

    /// <summary>Before bind: several sockets share the port, and the kernel spreads askers over them.</summary>
    public static void SharePort(Socket socket) =>
        socket.SetRawSocketOption(SolSocket, SoReusePort, BitConverter.GetBytes(1));

    /// <summary>Waits for at least one datagram. 0: none, look whether to stop; negative: an error.</summary>
    public int Receive()
    {
        for (var i = 0; i < Batch; i++)
        {
            _in[i].NameLength = AddressBuffer;
            _in[i].ControlLength = _wildcard ? ControlBuffer : 0u;
        }

        var received = RecvMMsg((int)_socket.SafeHandle.DangerousGetHandle(), _in, Batch, WaitForOne, null);
        return received >= 0 ? received : Marshal.GetLastPInvokeError() switch
        {
            Interrupted or TryAgain => 0,
            NotPermitted or NotImplemented => Unsupported,
            _ => -1,
        };
    }

    public ReadOnlySpan<byte> Query(int i) => new(_in[i].Vectors->Base, (int)_in[i].Length);

    /// <summary>The asker's address, 4 or 16 bytes.</summary>
    public ReadOnlySpan<byte> Asker(int i) => DnsServer.AddressIn(new ReadOnlySpan<byte>(_in[i].Name, (int)_in[i].NameLength));

    public Span<byte> Response(int i) => new(_in[i].Vectors[1].Base, DnsResponder.UdpBuffer);

    /// <summary>Sends the responses whose length is not 0; returns how many could not be sent: their askers are out of reach.</summary>
    public int Send(ReadOnlySpan<int> lengths)
    {
        var count = 0;
        for (var i = 0; i < lengths.Length; i++)
        {
            if (lengths[i] == 0)
            {
                continue;
            }

            ref var message = ref _out[count++];
            message = _in[i];
            message.Vectors = _in[i].Vectors + 1;
            message.Vectors->Length = (nuint)lengths[i];
            message.Flags = 0;
            if (message.ControlLength == 0)
            {
                message.Control = null;
            }
            else if (_socket.AddressFamily == AddressFamily.InterNetwork)
            {
                // From that address, by whatever interface: the way back need not be the way here.
                *(int*)((byte*)message.Control + sizeof(nuint) + 8) = 0;
            }
        }

        var failed = 0;
        for (var sent = 0; sent < count;)
        {
            var done = SendMMsg((int)_socket.SafeHandle.DangerousGetHandle(), _out + sent, (uint)(count - sent), 0);
            if (done < 0 && Marshal.GetLastPInvokeError() == Interrupted)
            {
                continue;
            }

            failed += done < 0 ? 1 : 0;
            sent += Math.Max(done, 1);
        }

        return failed;
    }

    public void Dispose()
    {
        NativeMemory.Free(_memory);
        if (_held)
        {
            _socket.SafeHandle.DangerousRelease();
        }
    }

    [LibraryImport("libc", EntryPoint = "recvmmsg", SetLastError = true)]
    private static partial int RecvMMsg(int socket, Message* messages, uint count, int flags, void* timeout);

    [LibraryImport("libc", EntryPoint = "sendmmsg", SetLastError = true)]
    private static partial int SendMMsg(int socket, Message* messages, uint count, int flags);

    /// <summary>struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Vector
    {
        public void* Base;
        public nuint Length;
    }

    /// <summary>struct mmsghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Message
    {
        public void* Name;
        public uint NameLength;
        public Vector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;

        // An int, and what fills the structure up before the length.
        public nint Flags;
        public uint Length;
    }
}
