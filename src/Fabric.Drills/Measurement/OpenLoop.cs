using System.Net.Sockets;
using Fabric.Drills.Definition;

namespace Fabric.Drills.Measurement;

/// <summary>
/// A load of small probes on one thread: each is sent when it is due, whatever became of those before, and answers are taken note of
/// as they come. What cannot be sent since too many are on their way is seen as failed: a service that stands still is not asked less.
/// </summary>
internal abstract class OpenLoop(ProbePlan plan, SteadyTime time) : IProbeLoad
{
    /// <summary>Beyond so much of lateness of the own machine, what was due is not sent any more.</summary>
    private static readonly TimeSpan TooLate = TimeSpan.FromSeconds(1);

    private readonly List<Socket> _readable = [];
    private readonly List<Socket> _writable = [];
    private Action<ProbeSample> _seen = static _ => { };

    public ProbePlan Plan { get; } = plan;

    protected SteadyTime Time { get; } = time;

    protected long Timeout { get; } = time.Stamps(plan.Timeout);

    /// <summary>Probes whose end is not known yet.</summary>
    protected abstract int OnTheirWay { get; }

    public Task RunAsync(Action<ProbeSample> seen, CancellationToken cancellationToken)
    {
        _seen = seen;
        // A thread of its own: a pause must be the network's, not the thread pool's.
        return Task.Factory.StartNew(() => Run(cancellationToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>Sends the probe with this number, or says that it cannot.</summary>
    protected abstract void Send(long number, long now);

    /// <summary>Gives up what is older than the timeout, and whatever else time brings.</summary>
    protected abstract void Look(long now, bool ending);

    /// <summary>What to wait for.</summary>
    protected abstract void Wanted(List<Socket> readable, List<Socket> writable);

    protected abstract void Readable(Socket socket);

    protected abstract void Writable(Socket socket);

    /// <summary>Nothing more will be sent or read: says what is still open, and closes the sockets.</summary>
    protected abstract void End(long now);

    protected void Say(int connection, long began, long ended, long bytes, string error, bool dropped = false, long lost = 0,
        bool wrong = false, bool again = false) =>
        _seen(new ProbeSample(Plan.Name, connection, Time.At(began), Time.At(ended), bytes, error, dropped, lost, wrong, again));

    protected void Unsent(int connection, long at, string why) =>
        _seen(new ProbeSample(Plan.Name, connection, Time.At(at), Time.At(at), 0, why, Dropped: false, Unsent: true));

    private void Run(CancellationToken ended)
    {
        Promptness.Raise(Promptness.Few);
        var step = (double)Time.TimestampFrequency / Plan.PerSecond;
        var began = Time.GetTimestamp();
        long Due(long number) => began + (long)(number * step);
        long number = 0;
        long? last = null;
        try
        {
            while (true)
            {
                var now = Time.GetTimestamp();
                if (ended.IsCancellationRequested)
                {
                    last ??= now + Timeout;
                    if (OnTheirWay == 0 || now >= last)
                    {
                        break;
                    }
                }

                Look(now, ending: last is not null);
                for (; last is null && Due(number) <= now; number++)
                {
                    if (now - Due(number) > Time.Stamps(TooLate))
                    {
                        Unsent(0, Due(number), "not sent: this machine was late");
                    }
                    else
                    {
                        Send(number, Time.GetTimestamp());
                    }
                }

                Wait(last is null ? Time.GetElapsedTime(Time.GetTimestamp(), Due(number)) : ProbeSockets.Turn);
            }
        }
        finally
        {
            End(Time.GetTimestamp());
        }
    }

    private void Wait(TimeSpan limit)
    {
        // The kernel waits in whole milliseconds; rounded down it would be a loop.
        var wait = TimeSpan.FromMilliseconds(Math.Ceiling(Math.Clamp(limit.TotalMilliseconds, 0, ProbeSockets.Turn.TotalMilliseconds)));
        _readable.Clear();
        _writable.Clear();
        Wanted(_readable, _writable);
        if (_readable.Count + _writable.Count == 0)
        {
            if (wait > TimeSpan.Zero)
            {
                using var pause = new ManualResetEventSlim();
                pause.Wait(wait);
            }

            return;
        }

        Socket.Select(_readable, _writable, null, wait);
        foreach (var socket in _readable)
        {
            Readable(socket);
        }

        foreach (var socket in _writable)
        {
            Writable(socket);
        }
    }
}
