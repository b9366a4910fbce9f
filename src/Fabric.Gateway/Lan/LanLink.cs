using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Lan;

/// <summary>
/// Multicast DNS on one interface, as long as it has the networks that it had at the start: socket, clock and lock around a
/// <see cref="LanSpeaker"/>.
/// </summary>
internal sealed class LanLink : IAsyncDisposable
{
    private static readonly TimeSpan _errorPause = TimeSpan.FromSeconds(1);

    private readonly ImmutableArray<Socket> _sockets;
    private readonly TimeProvider _time;
    private readonly Action _changed;
    private readonly long _start;
    private readonly LanSpeaker _speaker;
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly ITimer _timer;
    private readonly byte[] _out = new byte[Mdns.MaxMessage];
    private readonly Task _receiving;
    private bool _stopped;

    /// <param name="name">Of the interface.</param>
    /// <param name="networks">Its networks now.</param>
    /// <param name="wishes">What to do there.</param>
    /// <param name="time">The clock.</param>
    /// <param name="random">For delays.</param>
    /// <param name="changed">Called, from any thread, when <see cref="Found"/> or <see cref="AnnouncedAs"/> is another.</param>
    /// <exception cref="SocketException">The port cannot be had, or the group not be joined.</exception>
    public LanLink(string name, LanNetworks networks, LanWishes wishes, TimeProvider time, Random random, Action changed)
    {
        (Name, Networks, _time, _changed, _start) = (name, networks, time, changed, time.GetTimestamp());
        _sockets = Open(networks);
        _speaker = new LanSpeaker(networks, wishes, random, Send);
        _timer = time.CreateTimer(_ => Do(static (speaker, now) => speaker.Turn(now)), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        Do(static (speaker, now) =>
        {
            speaker.Start(now);
            return false;
        });
        _receiving = Task.WhenAll(_sockets.Select(s => Task.Run(() => ReceiveAsync(s))));
    }

    public string Name { get; }

    public LanNetworks Networks { get; }

    /// <inheritdoc cref="LanSpeaker.AnnouncedAs"/>
    public string AnnouncedAs
    {
        get
        {
            lock (_lock)
            {
                return _speaker.AnnouncedAs;
            }
        }
    }

    public ImmutableArray<LanService> Found
    {
        get
        {
            lock (_lock)
            {
                return [.. _speaker.Found.Select(s => s with { Interface = Name })];
            }
        }
    }

    /// <inheritdoc cref="LanSpeaker.Dropped"/>
    public long Dropped
    {
        get
        {
            lock (_lock)
            {
                return _speaker.Dropped;
            }
        }
    }

    /// <summary>What went wrong inside, at last; empty: nothing.</summary>
    public string Fault { get; private set; } = "";

    public async ValueTask DisposeAsync()
    {
        Do((speaker, _) =>
        {
            speaker.Goodbye();
            _stopped = true;
            return false;
        });
        await _timer.DisposeAsync();
        await _stop.CancelAsync();
        foreach (var socket in _sockets)
        {
            socket.Dispose();
        }

        await _receiving;
        _stop.Dispose();
    }

    /// <summary>One for each family that the interface has addresses of.</summary>
    private static ImmutableArray<Socket> Open(LanNetworks networks)
    {
        var sockets = ImmutableArray.CreateBuilder<Socket>();
        try
        {
            foreach (var family in new[] { AddressFamily.InterNetwork, AddressFamily.InterNetworkV6 }.Where(networks.Speaks))
            {
                sockets.Add(new Socket(family, SocketType.Dgram, ProtocolType.Udp));
                Bind(sockets[^1], networks.Index);
            }

            return sockets.ToImmutable();
        }
        catch
        {
            foreach (var socket in sockets)
            {
                socket.Dispose();
            }

            throw;
        }
    }

    /// <summary>At the port of multicast DNS, beside whoever else of this machine has it.</summary>
    private static void Bind(Socket socket, int index)
    {
        var four = socket.AddressFamily == AddressFamily.InterNetwork;
        var level = four ? SocketOptionLevel.IP : SocketOptionLevel.IPv6;
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        socket.SetSocketOption(level, SocketOptionName.PacketInformation, true);
        socket.SetSocketOption(level, SocketOptionName.MulticastInterface, four ? IPAddress.HostToNetworkOrder(index) : index);
        socket.SetSocketOption(level, SocketOptionName.MulticastTimeToLive, 255);
        socket.SetSocketOption(level, SocketOptionName.IpTimeToLive, 255);
        socket.SetSocketOption(level, SocketOptionName.MulticastLoopback, true);
        if (four)
        {
            socket.Bind(new IPEndPoint(IPAddress.Any, Mdns.Group.Port));
            socket.SetSocketOption(level, SocketOptionName.AddMembership, new MulticastOption(Mdns.Group.Address, index));
        }
        else
        {
            socket.SetSocketOption(level, SocketOptionName.IPv6Only, true);
            socket.Bind(new IPEndPoint(IPAddress.IPv6Any, Mdns.Group.Port));
            socket.SetSocketOption(level, SocketOptionName.AddMembership, new IPv6MulticastOption(Mdns.Group6, index));
        }
    }

    private async Task ReceiveAsync(Socket socket)
    {
        var buffer = new byte[Mdns.MaxMessage];
        var anybody = new IPEndPoint(socket.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0);
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var received = await socket.ReceiveMessageFromAsync(buffer, SocketFlags.None, anybody, _stop.Token);
                // A socket at all addresses hears other interfaces as well.
                if (received.PacketInformation.Interface == Networks.Index)
                {
                    Do((speaker, now) => speaker.Receive(buffer.AsSpan(0, received.ReceivedBytes), (IPEndPoint)received.RemoteEndPoint, now));
                }
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // The interface went down, or a message was too long.
                await Task.Delay(_errorPause, _time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>Has the speaker do something, and looks when it has to next. What goes wrong in it is told, and the next thing is another.</summary>
    private void Do(Func<LanSpeaker, TimeSpan, bool> what)
    {
        var changed = false;
        lock (_lock)
        {
            if (_stopped)
            {
                return;
            }

            try
            {
                changed = what(_speaker, _time.GetElapsedTime(_start));
            }
            catch (Exception e)
            {
                Fault = $"a fault: {e.Message}";
            }

            var wait = _speaker.Due - _time.GetElapsedTime(_start);
            _timer.Change(
                wait is { } some ? TimeSpan.FromMilliseconds(Math.Max(1, Math.Ceiling(some.TotalMilliseconds))) : Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }

        if (changed)
        {
            _changed();
        }
    }

    private void Send(DnsMessage message, IPEndPoint to)
    {
        var length = message.Write(_out);
        foreach (var socket in _sockets)
        {
            var there = !ReferenceEquals(to, Mdns.Group) || socket.AddressFamily == AddressFamily.InterNetwork ? to : new IPEndPoint(Mdns.Group6, to.Port);
            if (there.AddressFamily != socket.AddressFamily)
            {
                continue;
            }

            try
            {
                socket.SendTo(_out.AsSpan(0, length), there);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // It will be said again, or the interface is gone.
            }
        }
    }
}
