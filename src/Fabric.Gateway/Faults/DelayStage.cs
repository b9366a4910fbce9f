using System.Buffers;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Hosting;

namespace Fabric.Gateway.Faults;

/// <summary>
/// Holds the packets that are routed into a device of its own, and sends each on when its time has come, in their order: what arrives is
/// written back into the device, what leaves goes out by a raw socket. On a thread of its own; at its limits the newest packet is dropped, as
/// at those of any queue.
/// </summary>
internal sealed class DelayStage : IDisposable
{
    private const int MaxPackets = 20_000;
    private const int MaxBytes = 64 << 20;
    private const int MaxPacket = 65_536;
    private const int SocketLevel = 1, SocketMark = 36, Ipv6Level = 41, Ipv6HeaderIncluded = 36;
    private static readonly TimeSpan _idle = TimeSpan.FromMilliseconds(200);

    private readonly TunDevice _device;
    private readonly Socket? _v4;
    private readonly Socket? _v6;
    private readonly int _before;
    private readonly TimeSpan _delay;
    private readonly TimeSpan _jitter;
    private readonly Random _random = new(Environment.ProcessId);
    private readonly TimeProvider _time;
    private readonly Queue<(long Due, byte[] Packet, int Length)> _held = new();
    private readonly Thread _thread;
    private readonly long _start;
    private long _lastDue;
    private int _bytes;
    private volatile bool _stop;

    /// <param name="leaving">Whether packets go on to the network; else to this machine.</param>
    /// <param name="before">Bytes in front of each packet, of the link layer that it came by.</param>
    public DelayStage(TunDevice device, bool leaving, int before, TimeSpan delay, TimeSpan jitter, TimeProvider time)
    {
        (_device, _before, _delay, _jitter, _time, _start) = (device, before, delay, jitter, time, time.GetTimestamp());
        try
        {
            (_v4, _v6) = leaving ? (Raw(AddressFamily.InterNetwork), Socket.OSSupportsIPv6 ? Raw(AddressFamily.InterNetworkV6) : null) : (null, null);
        }
        catch (SocketException e)
        {
            throw new IOException($"no raw socket (CAP_NET_RAW): {e.Message}", e);
        }

        _thread = new Thread(Run) { Name = "fabric delay", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Null when this process may have one.</summary>
    public static string? WhyNot()
    {
        if (!TunDevice.Exists)
        {
            return "there is no /dev/net/tun";
        }

        if (Capability.NetRaw.WhyNot("to send on what it held") is { } missing)
        {
            return missing;
        }

        try
        {
            using var raw = new Socket(AddressFamily.InterNetwork, SocketType.Raw, ProtocolType.Raw);
            return null;
        }
        catch (SocketException e)
        {
            return $"it may open no raw socket, to send on what it held: {e.Message}";
        }
    }

    public void Dispose()
    {
        _stop = true;
        _thread.Join();
        _v4?.Dispose();
        _v6?.Dispose();
    }

    private static Socket Raw(AddressFamily family)
    {
        var socket = new Socket(family, SocketType.Raw, ProtocolType.Raw) { Blocking = false, SendBufferSize = 4 << 20 };
        if (family == AddressFamily.InterNetwork)
        {
            socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.HeaderIncluded, true);
        }
        else
        {
            socket.SetRawSocketOption(Ipv6Level, Ipv6HeaderIncluded, BitConverter.GetBytes(1));
        }

        socket.SetRawSocketOption(SocketLevel, SocketMark, BitConverter.GetBytes(KernelNames.Passed));
        return socket;
    }

    private void Run()
    {
        ThreadNice.Set(ThreadNice.Judges);
        var buffer = new byte[MaxPacket];
        while (!_stop)
        {
            _device.Wait(_held.TryPeek(out var next) ? Until(next.Due) : _idle);
            int length;
            while ((length = _device.Read(buffer)) > 0)
            {
                Hold(buffer.AsSpan(0, length));
            }

            while (_held.TryPeek(out next) && next.Due <= Now)
            {
                _held.Dequeue();
                Send(next.Packet.AsSpan(0, next.Length));
                _bytes -= next.Length;
                ArrayPool<byte>.Shared.Return(next.Packet);
            }
        }

        // Nobody is to wait for a drill that is over.
        while (_held.TryDequeue(out var rest))
        {
            Send(rest.Packet.AsSpan(0, rest.Length));
            ArrayPool<byte>.Shared.Return(rest.Packet);
        }
    }

    private long Now => _time.GetElapsedTime(_start).Ticks;

    private TimeSpan Until(long due) => TimeSpan.FromTicks(Math.Clamp(due - Now, 0, _idle.Ticks));

    private void Hold(ReadOnlySpan<byte> frame)
    {
        if (frame.Length <= _before || _held.Count >= MaxPackets || _bytes + frame.Length > MaxBytes)
        {
            return;
        }

        var packet = frame[_before..];
        var copy = ArrayPool<byte>.Shared.Rent(packet.Length);
        packet.CopyTo(copy);
        var wait = _delay + (_jitter * ((2 * _random.NextDouble()) - 1));
        _lastDue = Math.Max(Now + wait.Ticks, _lastDue);
        _bytes += packet.Length;
        _held.Enqueue((_lastDue, copy, packet.Length));
    }

    private void Send(ReadOnlySpan<byte> packet)
    {
        if (_v4 is null)
        {
            _device.Write(packet);
            return;
        }

        try
        {
            if (packet.Length >= 20 && packet[0] >> 4 == 4)
            {
                _v4.SendTo(packet, new IPEndPoint(new IPAddress(packet.Slice(16, 4)), 0));
            }
            else if (packet.Length >= 40 && packet[0] >> 4 == 6)
            {
                _v6?.SendTo(packet, new IPEndPoint(new IPAddress(packet.Slice(24, 16)), 0));
            }
        }
        catch (SocketException)
        {
            // The network under it is gone, or its queue is full: a packet is lost, as it would have been without us.
        }
    }
}
