using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Gateway.Probing;

/// <summary>
/// The UDP sockets of probing: non-blocking, never fragmenting, and one that wakes the thread that waits on them.
/// Receiving and sending by <see cref="SocketAddress"/> allocates nothing.
/// </summary>
internal sealed class ProbeSockets : IProbeWire, IDisposable
{
    // linux/in.h, linux/in6.h. PROBE sets DF and ignores the path MTU that the kernel has cached (10 min), where DO would go on
    // refusing full-size probes long after the path carries them again.
    private const int SolIp = 0;
    private const int IpMtuDiscover = 10;
    private const int SolIpv6 = 41;
    private const int Ipv6MtuDiscover = 23;
    private const int PmtudiscProbe = 3;

    private readonly List<Socket> _sockets = [];
    private readonly List<Socket> _ready = [];
    private readonly Socket _wake;

    /// <summary>Binds all of them, or throws <see cref="IOException"/> naming the one that failed.</summary>
    public ProbeSockets(ImmutableArray<IPEndPoint> listen)
    {
        _wake = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { Blocking = false };
        try
        {
            // Connected to itself: it takes nothing from anybody else.
            _wake.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            _wake.Connect(_wake.LocalEndPoint!);
            foreach (var endpoint in listen)
            {
                _sockets.Add(Open(endpoint));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public int Count => _sockets.Count;

    public ImmutableArray<IPEndPoint> Bound => [.. _sockets.Select(s => (IPEndPoint)s.LocalEndPoint!)];

    /// <summary>Waits until a socket is readable, <see cref="Wake"/> is called or the time is over.</summary>
    public void Wait(TimeSpan limit)
    {
        _ready.Clear();
        _ready.AddRange(_sockets);
        _ready.Add(_wake);
        // The kernel waits in whole milliseconds: rounded up, or the last one would be spent spinning.
        var milliseconds = (long)Math.Ceiling(Math.Clamp(limit.TotalMilliseconds, 0, 60_000));
        Socket.Select(_ready, null, null, (int)(milliseconds * 1000));
        if (_ready.Contains(_wake))
        {
            Span<byte> one = stackalloc byte[1];
            while (_wake.Poll(0, SelectMode.SelectRead))
            {
                _wake.Receive(one);
            }
        }
    }

    /// <summary>Ends a <see cref="Wait"/>. Safe to call from any thread.</summary>
    public void Wake()
    {
        try
        {
            _wake.Send([1]);
        }
        catch (SocketException)
        {
            // Its queue is full, so it is readable: that wakes as well.
        }
        catch (ObjectDisposedException)
        {
            // Being disposed: nobody waits.
        }
    }

    /// <summary>Takes the next datagram, or −1 when there is none.</summary>
    public int Receive(int socket, Span<byte> buffer, SocketAddress from)
    {
        // Asking first costs a system call, and a refused receive costs an exception.
        while (_sockets[socket].Available > 0 || _sockets[socket].Poll(0, SelectMode.SelectRead))
        {
            try
            {
                return _sockets[socket].ReceiveFrom(buffer, SocketFlags.None, from);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
            {
                return -1;
            }
            catch (SocketException)
            {
                // An ICMP error of an earlier send, or a datagram larger than any probe: it is taken off the queue.
            }
        }

        return -1;
    }

    public AddressFamily Family(int socket) => _sockets[socket].AddressFamily;

    public int Route(IPAddress? local, IPEndPoint remote, out SocketAddress address)
    {
        for (var i = 0; i < _sockets.Count; i++)
        {
            var bound = ((IPEndPoint)_sockets[i].LocalEndPoint!).Address;
            var fits = local is null ? true : bound.Equals(local) || bound.Equals(IPAddress.IPv6Any) || bound.Equals(IPAddress.Any);
            if (fits && _sockets[i].AddressFamily == remote.AddressFamily)
            {
                address = remote.Serialize();
                return i;
            }

            if (fits && _sockets[i].AddressFamily == AddressFamily.InterNetworkV6 && _sockets[i].DualMode)
            {
                address = new IPEndPoint(remote.Address.MapToIPv6(), remote.Port).Serialize();
                return i;
            }
        }

        address = remote.Serialize();
        return -1;
    }

    public ProbeSend Send(int socket, SocketAddress to, ReadOnlySpan<byte> packet, out string? error)
    {
        error = null;
        try
        {
            _sockets[socket].SendTo(packet, SocketFlags.None, to);
            return ProbeSend.Sent;
        }
        catch (SocketException e)
        {
            error = e.Message;
            return e.SocketErrorCode == SocketError.MessageSize ? ProbeSend.TooBig : ProbeSend.Refused;
        }
    }

    public void Dispose()
    {
        _wake.Dispose();
        foreach (var socket in _sockets)
        {
            socket.Dispose();
        }
    }

    private static Socket Open(IPEndPoint endpoint)
    {
        // "All addresses" on a host without IPv6 is all IPv4 ones.
        if (endpoint.Address.Equals(IPAddress.IPv6Any) && !Socket.OSSupportsIPv6)
        {
            endpoint = new IPEndPoint(IPAddress.Any, endpoint.Port);
        }

        var socket = new Socket(endpoint.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { Blocking = false };
        try
        {
            if (endpoint.Address.Equals(IPAddress.IPv6Any))
            {
                socket.DualMode = true;
            }

            NeverFragment(socket);
            socket.Bind(endpoint);
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new IOException($"cannot receive probes on {endpoint}/udp: {e.Message}", e);
        }
    }

    private static void NeverFragment(Socket socket)
    {
        if (!OperatingSystem.IsLinux())
        {
            socket.DontFragment = true;
            return;
        }

        var probe = BitConverter.GetBytes(PmtudiscProbe);
        if (socket.AddressFamily == AddressFamily.InterNetworkV6)
        {
            socket.SetRawSocketOption(SolIpv6, Ipv6MtuDiscover, probe);
        }

        if (socket.AddressFamily == AddressFamily.InterNetwork || socket.DualMode)
        {
            socket.SetRawSocketOption(SolIp, IpMtuDiscover, probe);
        }
    }
}
