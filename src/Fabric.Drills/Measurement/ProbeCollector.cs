using Fabric.Drills.Definition;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Measurement;

/// <summary>
/// Takes what probe loads say, from any thread, and folds it into one cell for each probe and second: a drill of an hour costs a few
/// megabytes. Seconds older than <see cref="Kept"/> are forgotten.
/// </summary>
public sealed class ProbeCollector
{
    /// <summary>2 hours, in seconds.</summary>
    public const int Kept = 7200;

    /// <summary>Reasons that are told apart for each probe; what fails for others is counted under <c>other</c>.</summary>
    public const int MaxFailures = 8;

    private readonly Lock _lock = new();
    private readonly SteadyTime _time;
    private readonly ProbeSeries[] _series;
    private readonly Dictionary<string, ProbeSeries> _byName = [];
    private DateTimeOffset? _ended;

    /// <param name="plans">Of all loads; their names are told apart.</param>
    public ProbeCollector(IEnumerable<ProbePlan> plans, TimeProvider time)
    {
        _time = SteadyTime.Of(time);
        _series = [.. plans.Select(p => new ProbeSeries(p))];
        foreach (var series in _series)
        {
            _byName.Add(series.Plan.Name, series);
        }
    }

    /// <summary>Runs loads until they are cancelled and what was on its way has come or was given up. A load that fails throws.</summary>
    public async Task RunAsync(IEnumerable<IProbeLoad> loads, CancellationToken cancellationToken)
    {
        // From here on nothing is sent any more: that nothing comes is no pause.
        await using var registration = cancellationToken.Register(() =>
        {
            lock (_lock)
            {
                _ended ??= _time.GetUtcNow();
            }
        });
        await Task.WhenAll(loads.Select(l => l.RunAsync(Seen, cancellationToken)));
    }

    /// <summary>Samples of a probe that has no plan are ignored.</summary>
    public void Seen(ProbeSample sample)
    {
        if (_byName.TryGetValue(sample.Probe, out var series))
        {
            lock (_lock)
            {
                series.Add(sample);
            }
        }
    }

    /// <summary>
    /// What came of each probe load between two instants. Counts are to the second, pauses are exact: one that began before, or still
    /// lasts at the end, counts with the part that lies between.
    /// </summary>
    public IReadOnlyList<ProbeFigures> Figures(DateTimeOffset from, DateTimeOffset to)
    {
        lock (_lock)
        {
            var until = _ended is { } ended && ended < to ? ended : to;
            return [.. _series.Select(s => s.Figures(from, to, until))];
        }
    }

    /// <summary>By time, then in the order of the plans.</summary>
    public IReadOnlyList<ProbeSecond> Seconds()
    {
        lock (_lock)
        {
            return [.. _series.SelectMany(s => s.Seconds()).OrderBy(s => s.At)];
        }
    }

    /// <summary>Of all that ended in the last so many seconds, 0 to 100; 0 when nothing did.</summary>
    public double RecentFailedPercent(TimeSpan window)
    {
        lock (_lock)
        {
            var since = _time.GetUtcNow() - window;
            var (attempts, failed) = (0L, 0L);
            foreach (var series in _series)
            {
                var (some, bad) = series.Since(since);
                (attempts, failed) = (attempts + some, failed + bad);
            }

            return attempts == 0 ? 0 : 100.0 * failed / attempts;
        }
    }

    /// <summary>The longest time that a live connection or a hashed stream has got nothing for, now.</summary>
    public TimeSpan LivePause()
    {
        lock (_lock)
        {
            var now = _ended ?? _time.GetUtcNow();
            return _series.Select(s => s.PauseNow(now)).Append(TimeSpan.Zero).Max();
        }
    }
}
