using System.Globalization;
using System.Runtime.CompilerServices;
using Fabric.Routing.Rates;
using Fabric.Tunnel;

namespace Fabric.Gateway.Telemetry;

/// <summary>
/// Which entries go to the audit log. Of streams that were allowed, a share; of denials all, but from one gateway at most 200 a second (2,000 at once):
/// whoever makes more of them must not wash what others did out of the files.
/// </summary>
/// <param name="share">Of streams that were allowed, from 0 to 1. Those that a review cut off are denials.</param>
/// <param name="time">The clock.</param>
internal sealed class AuditSieve(double share, TimeProvider time)
{
    public static readonly SourceLimit Denials = new(200, 2_000, 1_024);

    private readonly SourceRates<string> _denials = new(Denials);
    private readonly long _began = time.GetTimestamp();
    private long _sampledOut;

    /// <summary>Entries of allowed streams that were left out by choice.</summary>
    public long SampledOut => Interlocked.Read(ref _sampledOut);

    /// <summary>Denials beyond the rate.</summary>
    public long Limited => _denials.Refused;

    public bool Keeps(AuditEntry entry)
    {
        if (entry.IsDenial)
        {
            return _denials.TryTake(entry.AssertedBy, time.GetElapsedTime(_began));
        }

        if (entry.Draw < share)
        {
            return true;
        }

        Interlocked.Increment(ref _sampledOut);
        return false;
    }

    /// <summary>
    /// A number in [0, 1) that is the same for all lines of a stream, and by the end of its trace ID (W3C trace-context §3.2.2.3: random there), where it
    /// has one, the same in every gateway: so a trace is in all audit logs or in none.
    /// </summary>
    public static double DrawOf(StreamOpen open)
    {
        const int idEnds = 35;
        const int digits = 8;
        var drawn = open.TraceParent.Length > idEnds
            && uint.TryParse(open.TraceParent.AsSpan(idEnds - digits, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var hex)
                ? hex : unchecked((uint)RuntimeHelpers.GetHashCode(open) * 2_654_435_761);
        return drawn / 4_294_967_296.0;
    }
}
