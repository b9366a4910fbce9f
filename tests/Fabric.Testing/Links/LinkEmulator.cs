using System.Diagnostics;

namespace Fabric.Testing.Links;

/// <summary>A link between two devices, each direction with conditions of its own.</summary>
public sealed record EmulatedLink(TunDevice A, TunDevice B, Line AToB, Line BToA)
{
    /// <summary>The same conditions both ways.</summary>
    public LinkConditions Conditions
    {
        set => AToB.Conditions = BToA.Conditions = value;
    }

    /// <summary>Cuts both ways, or ends that.</summary>
    public void Cut(bool cut = true)
    {
        AToB.Cut(cut);
        BToA.Cut(cut);
    }
}

/// <summary>
/// Links that delay, jitter, lose, duplicate, reorder, narrow and silently cut what passes, where the kernel has no netem: pairs of
/// TUN devices, and one thread that carries packets from one to the other. Conditions are set at run time, for each direction.
/// <code>
///   namespace a                      this process                        namespace b
///   ┌──────────────┐    ┌──────────────────────────────────┐    ┌──────────────┐
///   │ tun a  ◄─────┼────┤ read ─► Line ─► DelayQueue ─► write├────┼─────► tun b  │
///   └──────────────┘    └──────────────────────────────────┘    └──────────────┘
/// </code>
/// </summary>
/// <remarks>
/// The thread waits in ppoll, whose timeout is in nanoseconds, until a packet comes or one is to arrive. Where it may, it runs under
/// SCHED_FIFO: it is the network, and the network does not wait for the processes that use it. Packets in flight hold at most the
/// memory that is given, over all links; more are dropped and counted. Linux, with CAP_NET_ADMIN.
/// </remarks>
public sealed class LinkEmulator : IDisposable
{
    private const int Batch = 64;
    private static readonly TimeSpan Idle = TimeSpan.FromMilliseconds(100);

    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly DelayQueue _queue;
    private readonly EmulatedLink[] _links;
    private readonly Thread _thread;
    private volatile bool _stopping;

    /// <summary>Makes the devices, in the namespace of the caller, and starts.</summary>
    /// <param name="names">Of the two devices of each link.</param>
    /// <param name="segmentsTogether">See <see cref="TunDevice"/>.</param>
    /// <param name="seed">Of all that is left to chance.</param>
    /// <param name="memory">Most bytes in flight, 64 MiB by default.</param>
    public LinkEmulator(IReadOnlyList<(string A, string B)> names, bool segmentsTogether = true, int seed = 1, long memory = 64 << 20)
    {
        _queue = new DelayQueue(memory);
        var devices = new List<TunDevice>();
        try
        {
            foreach (var name in names.SelectMany(n => new[] { n.A, n.B }))
            {
                devices.Add(new TunDevice(name, segmentsTogether));
            }
        }
        catch
        {
            devices.ForEach(d => d.Dispose());
            throw;
        }

        _links = [.. names.Select((_, i) => new EmulatedLink(
            devices[2 * i], devices[2 * i + 1], new Line(HashCode.Combine(seed, i, 0)), new Line(HashCode.Combine(seed, i, 1))))];
        _thread = new Thread(Relay) { Name = "link emulator", IsBackground = true };
        _thread.Start();
    }

    public IReadOnlyList<EmulatedLink> Links => _links;

    /// <summary>What ended the relay before its time; null while it runs.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Stops, and removes the devices.</summary>
    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        foreach (var link in _links)
        {
            link.A.Dispose();
            link.B.Dispose();
        }
    }

    private TimeSpan Now => Stopwatch.GetElapsedTime(_start);

    private void Relay()
    {
        try
        {
            RealTime.Raise();
            // Direction 2i leads from A to B of link i, 2i + 1 back.
            (TunDevice From, TunDevice To, Line Line)[] directions =
                [.. _links.SelectMany(l => new[] { (l.A, l.B, l.AToB), (l.B, l.A, l.BToA) })];
            var polls = GC.AllocateArray<Posix.PollFd>(directions.Length, pinned: true);
            for (var i = 0; i < polls.Length; i++)
            {
                polls[i] = new Posix.PollFd { Fd = directions[i].From.Descriptor, Events = Posix.POLLIN };
            }

            var buffer = GC.AllocateArray<byte>(DelayQueue.Large, pinned: true);
            while (!_stopping)
            {
                Wait(polls);
                for (var i = 0; i < polls.Length; i++)
                {
                    if ((polls[i].Returned & Posix.POLLIN) != 0)
                    {
                        Take(i, directions[i].From, directions[i].Line, buffer);
                    }
                }

                while (_queue.TryTake(Now, out var packet))
                {
                    var (_, to, line) = directions[packet.Line];
                    if (line.Passes())
                    {
                        line.Arrived(to.Write(packet.Bytes));
                    }

                    _queue.Return(packet);
                }
            }
        }
        catch (Exception e)
        {
            Failure = e;
        }
    }

    private void Take(int direction, TunDevice from, Line line, byte[] buffer)
    {
        int length;
        for (var i = 0; i < Batch && (length = from.Read(buffer)) > 0; i++)
        {
            var copies = line.Send(length - from.HeaderLength, Now, out var first, out var second);
            if (copies > 0 && !_queue.Add(direction, buffer.AsSpan(0, length), first)
                || copies > 1 && !_queue.Add(direction, buffer.AsSpan(0, length), second))
            {
                line.Overflowed();
            }
        }
    }

    private unsafe void Wait(Posix.PollFd[] polls)
    {
        var wait = _queue.NextAt - Now is { } next && next < Idle ? next : Idle;
        var ticks = Math.Max(0, wait.Ticks);
        var timeout = new Posix.TimeSpec { Seconds = (nint)(ticks / TimeSpan.TicksPerSecond), Nanoseconds = (nint)(ticks % TimeSpan.TicksPerSecond * 100) };
        fixed (Posix.PollFd* first = polls)
        {
            if (Posix.ppoll(first, (nuint)polls.Length, &timeout, null) < 0)
            {
                var error = System.Runtime.InteropServices.Marshal.GetLastPInvokeError();
                for (var i = 0; i < polls.Length; i++)
                {
                    polls[i].Returned = 0;
                }

                if (error != Posix.EINTR)
                {
                    throw Posix.Failure("ppoll", "of the TUN devices");
                }
            }
        }
    }
}
