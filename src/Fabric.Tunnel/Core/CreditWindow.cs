namespace Fabric.Tunnel.Core;

/// <summary>
/// How much a receiver lets a sender be ahead of the application: bandwidth × delay, found without measuring either. A window that
/// the application takes whole within two round trips (and some time for acknowledgements to travel in company) is what limits
/// the stream, and doubles; one that lasts sixteen times as long is halved. As receive buffers of Linux do (DRS; Fisk and Feng,
/// "Dynamic right-sizing in TCP", 2001), with twice the product so that a resumption does not stall it.
/// </summary>
internal struct CreditWindow(int initial, int most)
{
    /// <summary>What acknowledgements and turns of schedulers add to a round trip.</summary>
    public static readonly TimeSpan Slack = TimeSpan.FromMilliseconds(10);

    private const int SlowRounds = 16;

    private readonly int _least = initial;
    private TimeSpan _roundBegan;
    private long _roundEnds;

    public int Size { get; private set; } = initial;

    /// <summary>The application has taken everything before <paramref name="delivered"/>. True when the window grew.</summary>
    public bool Taken(long delivered, bool mayGrow, TimeSpan roundTrip, TimeSpan now)
    {
        if (delivered < _roundEnds)
        {
            return false;
        }

        var took = now - _roundBegan;
        var fast = 2 * roundTrip + Slack;
        var before = Size;
        if (_roundEnds > 0)
        {
            Size = took < fast && mayGrow ? (int)Math.Min(Size * 2L, Math.Max(Size, most))
                : took > SlowRounds * fast ? Math.Max(Size / 2, Math.Min(Size, _least)) : Size;
        }

        _roundBegan = now;
        _roundEnds = delivered + Size;
        return Size > before;
    }
}
