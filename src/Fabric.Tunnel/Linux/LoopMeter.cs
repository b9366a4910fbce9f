using System.Diagnostics;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// How busy a loop is. Written by its thread alone, read by any: a figure may be a turn old. Greatest values are those of the last 10 to 20
/// seconds, whoever asks how often.
/// </summary>
internal sealed class LoopMeter
{
    private static readonly long _window = 10 * Stopwatch.Frequency;

    private long _turns;
    private long _busy;
    private long _since = Stopwatch.GetTimestamp();
    private (long Turn, int Queue) _now;
    private (long Turn, int Queue) _before;

    public long Turns => Volatile.Read(ref _turns);

    public TimeSpan Busy => Stopwatch.GetElapsedTime(0, Volatile.Read(ref _busy));

    public TimeSpan LongestTurn => Stopwatch.GetElapsedTime(0, Math.Max(_now.Turn, _before.Turn));

    public int LongestQueue => Math.Max(_now.Queue, _before.Queue);

    /// <summary>So many items are ready.</summary>
    public void Ready(int count) => _now.Queue = Math.Max(_now.Queue, count);

    public void Turned(long from, long to)
    {
        _turns++;
        _busy += to - from;
        _now.Turn = Math.Max(_now.Turn, to - from);
        if (to - _since >= _window)
        {
            _since = to;
            _before = _now;
            _now = default;
        }
    }
}
