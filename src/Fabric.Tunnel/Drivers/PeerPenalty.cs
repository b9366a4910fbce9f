namespace Fabric.Tunnel.Drivers;

/// <summary>
/// Whether a peer that broke the protocol may have lanes. The first three times it just loses the lane: a mistake, or a version
/// that is not understood. From then on it is refused for 1 s, and for twice as long each time, up to <see cref="Longest"/>.
/// One time is forgiven a minute. One for each planned peer, so bounded; kept in the session's lock.
/// </summary>
internal struct PeerPenalty
{
    public const int Forgiven = 3;

    public static readonly TimeSpan Longest = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan _forgiveness = TimeSpan.FromMinutes(1);

    private int _times;
    private TimeSpan _counted;
    private TimeSpan _until;
    private string? _last;

    public void Broke(string reason, TimeSpan now)
    {
        var forgiven = (int)Math.Min(_times, (now - _counted) / _forgiveness);
        _times = Math.Min(_times - forgiven + 1, 16);
        _counted = now;
        _last = reason;
        if (_times > Forgiven)
        {
            var wait = TimeSpan.FromSeconds(1L << (_times - Forgiven - 1));
            _until = now + (wait < Longest ? wait : Longest);
        }
    }

    /// <summary>Why the peer is refused now; empty when it is not.</summary>
    public readonly string Refusal(TimeSpan now) => now >= _until ? ""
        : $"refused for {Math.Ceiling((_until - now).TotalSeconds):0} s more: it broke the protocol {_times} times, lastly: {_last}";
}
