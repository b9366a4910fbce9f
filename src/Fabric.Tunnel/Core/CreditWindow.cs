namespace Fabric.Tunnel.Core;

/// <summary>
/// How much a receiver lets a sender be ahead of the application: starts small and doubles whenever the application takes a
/// whole window in less than <see cref="FastRound"/>, up to a limit. So the window is at least what the application takes
/// in that time, which covers every round trip up to it (receive buffer auto-tuning as in Linux's DRS, without measuring RTT).
/// </summary>
internal struct CreditWindow(int initial, int limit)
{
    public static readonly TimeSpan FastRound = TimeSpan.FromMilliseconds(200);

    private TimeSpan _roundBegan;
    private long _roundEnds;

    public int Size { get; private set; } = initial;

    /// <summary>The application has taken everything before <paramref name="delivered"/>. True when the window grew.</summary>
    public bool Taken(long delivered, bool mayGrow, TimeSpan now)
    {
        if (delivered < _roundEnds)
        {
            return false;
        }

        var grow = mayGrow && _roundEnds > 0 && now - _roundBegan < FastRound && Size < limit;
        Size = grow ? Math.Min(Size * 2, limit) : Size;
        _roundBegan = now;
        _roundEnds = delivered + Size;
        return grow;
    }
}
