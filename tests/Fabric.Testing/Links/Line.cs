namespace Fabric.Testing.Links;

/// <summary>
/// One direction of a link as decisions alone: packet lengths and instants in, arrival times out. No clock, no packets; the same
/// seed gives the same fates. Used by one thread; <see cref="Conditions"/> may be set by any.
/// </summary>
/// <remarks>
/// A packet meets, in order: the cut → the queue of the bandwidth → loss → delay and jitter → reordering → duplication.
/// </remarks>
public sealed class Line(int seed)
{
    private readonly Random _random = new(seed);
    private LinkConditions _conditions = new();
    private TimeSpan _freeAt;
    private TimeSpan _newest;
    private long _sent, _delivered, _lost, _cut, _overflowed, _refused;

    /// <summary>How it is now. Throws <see cref="ArgumentOutOfRangeException"/> when set to what no link can be.</summary>
    public LinkConditions Conditions
    {
        get => Volatile.Read(ref _conditions);
        set => Volatile.Write(ref _conditions, value.Checked());
    }

    public LineCounters Counters => new(
        Volatile.Read(ref _sent), Volatile.Read(ref _delivered), Volatile.Read(ref _lost), Volatile.Read(ref _cut),
        Volatile.Read(ref _overflowed), Volatile.Read(ref _refused));

    /// <summary>Darkens it, or ends that; the other conditions stay.</summary>
    public void Cut(bool cut = true) => Conditions = Conditions with { Cut = cut };

    /// <summary>A packet enters. Gives how many copies arrive: 0, 1 or 2.</summary>
    /// <param name="first">When the first copy arrives.</param>
    /// <param name="second">When the second does.</param>
    public int Send(int bytes, TimeSpan now, out TimeSpan first, out TimeSpan second)
    {
        var conditions = Conditions;
        (first, second) = (default, default);
        _sent++;
        if (conditions.Cut)
        {
            _cut++;
            return 0;
        }

        var departs = now;
        if (conditions.BitsPerSecond > 0)
        {
            var begins = _freeAt > now ? _freeAt : now;
            if ((begins - now).TotalSeconds * conditions.BitsPerSecond / 8 + bytes > Math.Max(conditions.QueueBytes, bytes))
            {
                _overflowed++;
                return 0;
            }

            _freeAt = departs = begins + TimeSpan.FromSeconds(bytes * 8.0 / conditions.BitsPerSecond);
        }

        // Lost on the way: it took its share of the bandwidth.
        if (Chance(conditions.Loss))
        {
            _lost++;
            return 0;
        }

        first = Arrival(conditions, departs);
        if (!Chance(conditions.Duplicate))
        {
            return 1;
        }

        second = Arrival(conditions, departs);
        return 2;
    }

    /// <summary>A packet is to leave at the other end: whether it does. One that was on the way when the line was cut does not.</summary>
    public bool Passes()
    {
        if (!Conditions.Cut)
        {
            return true;
        }

        _cut++;
        return false;
    }

    /// <summary>What became of a packet that passed.</summary>
    public void Arrived(bool taken)
    {
        if (taken)
        {
            _delivered++;
        }
        else
        {
            _refused++;
        }
    }

    /// <summary>There was no memory for a packet.</summary>
    public void Overflowed() => _overflowed++;

    private TimeSpan Arrival(LinkConditions conditions, TimeSpan departs)
    {
        var arrives = departs + conditions.Delay;
        if (conditions.Jitter > TimeSpan.Zero)
        {
            arrives += conditions.Jitter * _random.NextDouble();
        }

        // Held back: those behind it do not wait for it.
        if (Chance(conditions.Reorder))
        {
            return arrives + conditions.ReorderBy;
        }

        return _newest = arrives > _newest ? arrives : _newest;
    }

    // A number is drawn only where it matters, so that switching one fault on does not change the fates by another.
    private bool Chance(double share) => share > 0 && _random.NextDouble() < share;
}
