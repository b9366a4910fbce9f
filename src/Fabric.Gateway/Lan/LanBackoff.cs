namespace Fabric.Gateway.Lan;

/// <summary>When to ask for something: at once, then after 1 s, 2 s, and ever more seldom (RFC 6762 §5.2).</summary>
/// <param name="since">When first.</param>
/// <param name="longest">The longest pause.</param>
internal sealed class LanBackoff(TimeSpan since, TimeSpan longest)
{
    private static readonly TimeSpan _second = TimeSpan.FromSeconds(1);
    private TimeSpan _gap = _second;
    private bool _spared;

    public TimeSpan Next { get; private set; } = since;

    public bool IsDue(TimeSpan now)
    {
        if (now < Next)
        {
            return false;
        }

        _spared = false;
        Ask(now);
        return true;
    }

    /// <summary>
    /// Another asks the same. When it was to be asked here within a second, that counts as asked (§7.3): the answer goes to all. Not twice running, for
    /// who asks this host and nobody else could silence it for good.
    /// </summary>
    public void Spare(TimeSpan now)
    {
        if (!_spared && Next - now <= _second)
        {
            _spared = true;
            Ask(now);
        }
    }

    private void Ask(TimeSpan now)
    {
        Next = now + _gap;
        _gap = _gap * 2 < longest ? _gap * 2 : longest;
    }
}
