namespace Fabric.Tunnel.Core;

/// <summary>How long to wait before a lane is dialled again: from <see cref="TunnelLimits.RedialMin"/>, doubled at each failure up to
/// <see cref="TunnelLimits.RedialMax"/>, and up to a quarter more.</summary>
internal sealed class RedialPace(TunnelLimits limits)
{
    private TimeSpan _next = limits.RedialMin;

    /// <summary>A lane came up: the next failure is the first.</summary>
    public void CameUp() => _next = limits.RedialMin;

    /// <param name="jitter">0 to 1.</param>
    public TimeSpan Wait(double jitter)
    {
        var wait = _next;
        _next = wait * 2 < limits.RedialMax ? wait * 2 : limits.RedialMax;
        return wait + wait / 4 * jitter;
    }
}
