using System.Diagnostics;

namespace Fabric.Lab.Measurement;

/// <summary>
/// How long this machine lets a thread wait for a core: one of ordinary priority sleeps again and again, and looks by how much it overslept. Pauses that
/// are measured beside it are judged by that: on a machine that is busy with something else, each of the programs that a byte comes through waits as long.
/// </summary>
public sealed class Lateness : IDisposable
{
    private static readonly TimeSpan Nap = TimeSpan.FromMilliseconds(2);

    /// <summary>How often a byte may wait for a core on its way: client, server, two gateways, there and back, and who finds the link dark.</summary>
    private const int Waits = 10;

    private readonly object _lock = new();
    private readonly Thread _thread;
    private TimeSpan _longest;
    private volatile bool _ended;

    public Lateness()
    {
        _thread = new Thread(Watch) { IsBackground = true };
        _thread.Start();
    }

    /// <summary>The longest wait so far.</summary>
    public TimeSpan Longest
    {
        get
        {
            lock (_lock)
            {
                return _longest;
            }
        }
    }

    /// <summary>What a pause may last here that may last <paramref name="limit"/> on a machine with nothing else to do.</summary>
    public TimeSpan Allowed(TimeSpan limit) => limit + Waits * Longest;

    public void Dispose()
    {
        _ended = true;
        _thread.Join();
    }

    private void Watch()
    {
        while (!_ended)
        {
            var began = Stopwatch.GetTimestamp();
            // No wait that spins first: it has to come to the kernel, and back.
            Thread.Sleep(Nap);
            var late = Stopwatch.GetElapsedTime(began) - Nap;
            lock (_lock)
            {
                _longest = late > _longest ? late : _longest;
            }
        }
    }
}
