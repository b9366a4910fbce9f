using Fabric.Drills.Definition;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Measurement;

/// <summary>One probe's seconds. Not for two threads at once.</summary>
internal sealed class ProbeSeries(ProbePlan plan)
{
    private readonly bool _lives = plan.Kind is "live" or "bulk";

    // The last arrival on each connection; where each probe is one of its own, the last success. 0: none yet.
    private readonly long[] _last = new long[plan.Kind is "live" or "bulk" ? Math.Clamp(plan.Connections, 1, 64) : 1];
    private readonly List<Cell> _cells = [];
    private long _first;

    public ProbePlan Plan { get; } = plan;

    public void Add(in ProbeSample sample)
    {
        var cell = At(sample.Ended.UtcTicks / TimeSpan.TicksPerSecond);
        var failed = sample.Error.Length > 0;
        if (!sample.Again)
        {
            cell.Succeeded += failed ? 0 : 1;
            cell.Failed += failed ? 1 : 0;
        }

        cell.Bytes += sample.Bytes;
        cell.Lost += sample.Lost;
        cell.Dropped += sample.Dropped ? 1 : 0;
        cell.Wrong += sample.Wrong ? 1 : 0;
        if (failed && !sample.Again)
        {
            cell.Fail(sample.Error);
        }

        if (!sample.Unsent)
        {
            var ms = (sample.Ended - sample.Began).TotalMilliseconds;
            cell.WorstMs = Math.Max(cell.WorstMs ?? 0, ms);
            if (!failed && !sample.Again)
            {
                cell.Latencies.Add(ms);
            }
        }

        Arrive(sample, cell, failed);
    }

    public ProbeFigures Figures(DateTimeOffset from, DateTimeOffset to, DateTimeOffset pausesUntil)
    {
        var sum = new Cell();
        var pause = (Began: 0L, Ticks: 0L);
        for (var i = IndexOf(from); i < _cells.Count; i++)
        {
            var cell = _cells[i];
            if ((_first + i) * TimeSpan.TicksPerSecond <= to.UtcTicks)
            {
                sum.Add(cell);
            }

            // One that ended after the window may have lain in it for the most part.
            Longer(ref pause, cell.PauseFrom, cell.PauseTo);
        }

        foreach (var last in _last)
        {
            if (last > 0)
            {
                Longer(ref pause, last, long.MaxValue);
            }
        }

        return new ProbeFigures(
            Plan.Name, Plan.Kind, Plan.Service, sum.Succeeded + (long)sum.Failed, sum.Failed, sum.Dropped,
            TimeSpan.FromTicks(pause.Ticks).TotalMilliseconds,
            pause.Ticks > 0 ? new DateTimeOffset(pause.Began, TimeSpan.Zero) : null,
            sum.Latencies.Percentile(50), sum.Latencies.Percentile(99), sum.Bytes, sum.Lost, sum.Wrong, sum.Reasons());

        void Longer(ref (long Began, long Ticks) longest, long began, long ended)
        {
            (began, ended) = (Math.Max(began, from.UtcTicks), Math.Min(ended, pausesUntil.UtcTicks));
            if (ended - began > longest.Ticks)
            {
                longest = (began, ended - began);
            }
        }
    }

    public IEnumerable<ProbeSecond> Seconds() => _cells.Select((cell, i) => new ProbeSecond(
        new DateTimeOffset((_first + i) * TimeSpan.TicksPerSecond, TimeSpan.Zero), Plan.Name, cell.Succeeded, cell.Failed, cell.Bytes, cell.WorstMs));

    /// <summary>Attempts and failures from that second on.</summary>
    public (long Attempts, long Failed) Since(DateTimeOffset instant)
    {
        var (attempts, failed) = (0L, 0L);
        for (var i = IndexOf(instant); i < _cells.Count; i++)
        {
            attempts += _cells[i].Succeeded + _cells[i].Failed;
            failed += _cells[i].Failed;
        }

        return (attempts, failed);
    }

    /// <summary>The longest that still lasts, for probes with connections that live.</summary>
    public TimeSpan PauseNow(DateTimeOffset now) => TimeSpan.FromTicks(
        _lives ? _last.Where(l => l > 0).Select(l => Math.Max(0, now.UtcTicks - l)).DefaultIfEmpty().Max() : 0);

    private void Arrive(in ProbeSample sample, Cell cell, bool failed)
    {
        ref var last = ref _last[_lives ? sample.Connection % _last.Length : 0];
        // Before the first one, the pause runs from the first try.
        last = last == 0 ? sample.Began.UtcTicks : last;
        var arrived = _lives ? sample.Bytes > 0 : !failed && !sample.Again;
        if (arrived && sample.Ended.UtcTicks > last)
        {
            if (sample.Ended.UtcTicks - last > cell.PauseTo - cell.PauseFrom)
            {
                (cell.PauseFrom, cell.PauseTo) = (last, sample.Ended.UtcTicks);
            }

            last = sample.Ended.UtcTicks;
        }
    }

    private int IndexOf(DateTimeOffset at) => (int)Math.Clamp(at.UtcTicks / TimeSpan.TicksPerSecond - _first, 0, _cells.Count);

    private Cell At(long second)
    {
        if (_cells.Count == 0)
        {
            _first = second;
        }

        if (second - _first >= ProbeCollector.Kept)
        {
            // A tenth at once, so that it is not done each second.
            var old = (int)Math.Min(_cells.Count, second - _first - ProbeCollector.Kept + ProbeCollector.Kept / 10);
            _cells.RemoveRange(0, old);
            _first = _cells.Count == 0 ? second : _first + old;
        }

        while (_first + _cells.Count <= second)
        {
            _cells.Add(new Cell());
        }

        // What is older than all that is kept counts with the oldest.
        return _cells[(int)Math.Max(0, second - _first)];
    }

    private sealed class Cell
    {
        public int Succeeded;
        public int Failed;
        public int Dropped;
        public int Wrong;
        public long Bytes;
        public long Lost;
        public double? WorstMs;
        public long PauseFrom;
        public long PauseTo;
        public readonly LatencyHistogram Latencies = new();
        private Dictionary<string, long>? _reasons;

        public void Fail(string reason, long count = 1)
        {
            _reasons ??= [];
            var key = _reasons.Count < ProbeCollector.MaxFailures - 1 || _reasons.ContainsKey(reason) ? reason : "other";
            _reasons[key] = _reasons.GetValueOrDefault(key) + count;
        }

        public void Add(Cell other)
        {
            (Succeeded, Failed, Dropped, Wrong) = (Succeeded + other.Succeeded, Failed + other.Failed, Dropped + other.Dropped, Wrong + other.Wrong);
            (Bytes, Lost) = (Bytes + other.Bytes, Lost + other.Lost);
            Latencies.Add(other.Latencies);
            foreach (var (reason, count) in other._reasons ?? [])
            {
                Fail(reason, count);
            }
        }

        public IReadOnlyList<ProbeFailure> Reasons() => [.. (_reasons ?? [])
            .Select(r => new ProbeFailure(r.Key, r.Value)).OrderByDescending(r => r.Count).ThenBy(r => r.Error, StringComparer.Ordinal)];
    }
}
