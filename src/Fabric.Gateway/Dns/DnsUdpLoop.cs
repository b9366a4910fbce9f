using System.Net;
using System.Net.Sockets;
using System.Runtime.Versioning;

namespace Fabric.Gateway.Dns;

internal delegate int DnsUdpAnswerer(ReadOnlySpan<byte> query, Span<byte> response, ReadOnlySpan<byte> address, DnsCounters counters);

/// <summary>For a query whose answer comes later.</summary>
internal delegate void DnsUdpForwarder(
    ReadOnlySpan<byte> query, ReadOnlySpan<byte> address, DnsCounters counters, IDnsWayBack back);

/// <summary>A thread that receives datagrams of one socket, and answers each before it receives more.</summary>
internal sealed class DnsUdpLoop
{
    // The longest datagram: on Windows a longer one than the buffer would be an error, and errors cost.
    private const int ReceiveBuffer = 65535;

    /// <summary>
    /// Datagrams at once that mean that more are coming. Who asks them gets the processor first, so that a system call takes more of them: 127,000
    /// to 156,000 answers a second with one thread. At fewer, a datagram is one asker who waits.
    /// </summary>
    private const int Many = 4;

    private static readonly TimeSpan ErrorPause = TimeSpan.FromMilliseconds(10);

    private readonly Socket _socket;
    private readonly DnsUdpAnswerer _answer;
    private readonly DnsUdpForwarder _forward;
    private readonly ManualResetEventSlim _stop;
    private readonly Thread _thread;
    private readonly bool _portable;
    private IDisposable? _linux;

    public DnsUdpLoop(
        Socket socket, DnsUdpAnswerer answer, DnsUdpForwarder forward, bool portable, ManualResetEventSlim stop)
    {
        (_socket, _answer, _forward, _portable, _stop) = (socket, answer, forward, portable, stop);
        _thread = new Thread(Run) { IsBackground = true, Name = "dns-udp" };
    }

    /// <summary>Of this thread, and of its queries that are answered later.</summary>
    public DnsCounters Counters { get; } = new();

    /// <summary>Of this thread; null: nobody wants to know.</summary>
    public DnsTiming? Timing { get; init; }

    public void Start()
    {
        if (OperatingSystem.IsLinux() && !_portable)
        {
            // Not on the thread: the socket is open now.
            _linux = new DnsLinuxUdp(_socket);
        }

        _thread.Start();
    }

    /// <summary>Ends a wait for datagrams, and closes the socket.</summary>
    public void Wake()
    {
        try
        {
            // On Linux it wakes who waits in a system call of ours, though it says that there is no connection.
            _socket.Shutdown(SocketShutdown.Both);
        }
        catch (SocketException)
        {
        }

        _socket.Dispose();
    }

    public void Join() => _thread.Join();

    private void Run()
    {
        if (OperatingSystem.IsLinux() && _linux is DnsLinuxUdp udp)
        {
            var supported = RunLinux(udp);
            udp.Dispose();
            if (supported)
            {
                return;
            }
        }

        RunPortable();
    }

    /// <summary>Until the stop; false when a sandbox does not let these calls through.</summary>
    [SupportedOSPlatform("linux")]
    private bool RunLinux(DnsLinuxUdp udp)
    {
        Span<int> lengths = stackalloc int[DnsLinuxUdp.Batch];
        while (!_stop.IsSet)
        {
            var received = udp.Receive();
            if (received == DnsLinuxUdp.Unsupported)
            {
                return false;
            }

            if (received < 0 && !_stop.IsSet)
            {
                Pause();
            }

            Timing?.Read(received);
            for (var i = 0; i < received; i++)
            {
                lengths[i] = _answer(udp.Query(i), udp.Response(i), udp.Asker(i), Counters);
                if (lengths[i] < 0)
                {
                    lengths[i] = 0;
                    _forward(udp.Query(i), udp.Asker(i), Counters, udp.WayBack(i));
                }
            }

            for (var failed = received > 0 ? udp.Send(lengths[..received]) : 0; failed > 0; failed--)
            {
                Counters.Dropped();
            }

            Timing?.Sent(received > 0 && lengths[..received].ContainsAnyExcept(0));
            if (received >= Many)
            {
                Thread.Yield();
            }
        }

        return true;
    }

    private void RunPortable()
    {
        var query = new byte[ReceiveBuffer];
        var response = new byte[DnsResponder.UdpBuffer];
        var from = new SocketAddress(_socket.AddressFamily);
        while (!_stop.IsSet)
        {
            int received;
            try
            {
                received = _socket.ReceiveFrom(query, SocketFlags.None, from);
            }
            catch (Exception e) when (e is ObjectDisposedException or SocketException)
            {
                if (!_stop.IsSet)
                {
                    Pause();
                }

                continue;
            }

            Timing?.Read(1);
            var address = DnsServer.AddressIn(from.Buffer.Span[..from.Size]);
            var length = _answer(query.AsSpan(0, received), response, address, Counters);
            if (length < 0)
            {
                _forward(query.AsSpan(0, received), address, Counters, new DnsWayBack(_socket, from));
            }

            if (length > 0 && !TrySend(response.AsSpan(0, length), from))
            {
                Counters.Dropped();
            }

            Timing?.Sent(length > 0);
        }
    }

    /// <summary>The machine's trouble, such as no memory: go on, but not hot.</summary>
    private void Pause()
    {
        Counters.Fault();
        _stop.Wait(ErrorPause);
    }

    /// <summary>False for an asker that cannot be reached. There may be many (forged sources): no reason to pause.</summary>
    private bool TrySend(ReadOnlySpan<byte> response, SocketAddress to)
    {
        try
        {
            _socket.SendTo(response, SocketFlags.None, to);
            return true;
        }
        catch (Exception e) when (e is ObjectDisposedException or SocketException)
        {
            return false;
        }
    }
}
