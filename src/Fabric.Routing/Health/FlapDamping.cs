namespace Fabric.Routing.Health;

/// <summary>Figures of flap damping; the defaults hold a link from its third fall in quick succession, for 30 s, never over 60 s.</summary>
public sealed record FlapDampingOptions
{
    /// <summary>Added at each fall. Default 1,000.</summary>
    public double Penalty { get; init; } = 1_000;

    /// <summary>Held from this penalty on. Default 2,500.</summary>
    public double Suppress { get; init; } = 2_500;

    /// <summary>Free again below this penalty. Default 750. Must be below <see cref="Suppress"/>.</summary>
    public double Reuse { get; init; } = 750;

    /// <summary>Time in which the penalty halves. Default 15 s.</summary>
    public TimeSpan HalfLife { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Longest hold; caps the penalty at reuse · 2^(hold / half-life). Default 60 s.</summary>
    public TimeSpan MaxHold { get; init; } = TimeSpan.FromSeconds(60);
}

/// <summary>Penalty that grows with each fall and decays with time; what falls too often is held back.</summary>
/// <remarks>
/// The idea and the formula of the ceiling are of RFC 2439. Its figures (half-life 15 min, hold up to 60 min) are for routes that the
/// whole Internet recomputes; here a hold costs one gateway a path, so it is measured in seconds and is never longer than
/// <see cref="FlapDampingOptions.MaxHold"/>. A plain hold-down timer does not serve: a link that falls every 3 s satisfies any
/// hold-down of 2 s and moves every stream each time.
/// </remarks>
public sealed class FlapDamping
{
    private readonly FlapDampingOptions _options;
    private readonly double _ceiling;
    private double _penalty;
    private TimeSpan _at;
    private bool _suppressed;

    public FlapDamping(FlapDampingOptions options)
    {
        if (options.Reuse <= 0 || options.Reuse >= options.Suppress || options.HalfLife <= TimeSpan.Zero)
        {
            throw new ArgumentException($"flap damping: reuse ({options.Reuse}) must be above 0 and below suppress " +
                $"({options.Suppress}), and the half-life ({options.HalfLife}) above 0", nameof(options));
        }

        _options = options;
        _ceiling = options.Reuse * Math.Pow(2, options.MaxHold / options.HalfLife);
    }

    /// <summary>Counts a fall.</summary>
    public void Fell(TimeSpan now)
    {
        _penalty = Math.Min(PenaltyAt(now) + _options.Penalty, _ceiling);
        _at = now;
        _suppressed |= _penalty >= _options.Suppress;
    }

    /// <summary>The decayed penalty.</summary>
    public double PenaltyAt(TimeSpan now) =>
        now <= _at ? _penalty : _penalty * Math.Pow(2, -((now - _at) / _options.HalfLife));

    /// <summary>How much longer it is held; zero when it is free. Never more than <see cref="FlapDampingOptions.MaxHold"/>.</summary>
    public TimeSpan HoldFor(TimeSpan now)
    {
        var penalty = PenaltyAt(now);
        if (!_suppressed || penalty < _options.Reuse)
        {
            _suppressed = false;
            return TimeSpan.Zero;
        }

        return _options.HalfLife * Math.Log2(penalty / _options.Reuse);
    }
}
