namespace Fabric.Routing.Health;

/// <summary>Share of probes lost among the last <paramref name="size"/> whose fate is known.</summary>
/// <remarks>
/// A window and not an exponential average: the average of a 0/1 signal jumps by α at each loss, so that with a useful α one lost
/// probe looks like 10 % loss; in a window of 100 it is 1 %, and it is gone after exactly 100 probes.
/// </remarks>
public sealed class LossWindow(int size = 100)
{
    private readonly bool[] _lost = new bool[size];
    private int _next;
    private int _count;
    private int _losses;

    /// <summary>0 to 1; 0 before the first probe.</summary>
    public double Ratio => _count == 0 ? 0 : (double)_losses / _count;

    public void Record(bool lost)
    {
        _losses += (lost ? 1 : 0) - (_lost[_next] ? 1 : 0);
        _lost[_next] = lost;
        _next = (_next + 1) % _lost.Length;
        _count = Math.Min(_count + 1, _lost.Length);
    }

    /// <summary>Forgets all of them.</summary>
    public void Clear()
    {
        Array.Clear(_lost);
        (_next, _count, _losses) = (0, 0, 0);
    }
}

/// <summary>Which way packets are lost, from the count of received probes that the peer reports in each answer.</summary>
/// <remarks>
/// Between two answers the prober sent s probes, the peer received r, and a of its answers came back: loss out is 1 − r/s, loss
/// back is 1 − a/r. Clocks need not agree, since nothing but counts is compared.
/// </remarks>
public sealed class OneWayLoss(int size = 100)
{
    private readonly (ulong Sequence, ulong Received)[] _answers = new (ulong, ulong)[size];
    private int _next;
    private int _count;

    /// <summary>Share lost on the way to the peer, 0 to 1.</summary>
    public double Out { get; private set; }

    /// <summary>Share of answers lost on the way back, 0 to 1.</summary>
    public double Back { get; private set; }

    /// <summary>Takes one answer. One that is older than the newest is ignored; a count that went back starts again.</summary>
    public void Record(ulong sequence, ulong received)
    {
        if (_count > 0)
        {
            var newest = _answers[(_next + size - 1) % size];
            if (sequence <= newest.Sequence)
            {
                return;
            }

            // The peer restarted, or counts anew for a new key.
            if (received < newest.Received)
            {
                Clear();
            }
        }

        _answers[_next] = (sequence, received);
        _next = (_next + 1) % size;
        _count = Math.Min(_count + 1, size);
        var oldest = _answers[(_next + size - _count) % size];
        var (sent, arrived, answered) = (sequence - oldest.Sequence, received - oldest.Received, (ulong)(_count - 1));
        Out = sent == 0 ? 0 : Math.Clamp(1 - (double)arrived / sent, 0, 1);
        Back = arrived == 0 ? 0 : Math.Clamp(1 - (double)answered / arrived, 0, 1);
    }

    /// <summary>Forgets all answers.</summary>
    public void Clear() => (_count, _next, Out, Back) = (0, 0, 0, 0);
}
