using System.Collections.Immutable;
using Fabric.Identity.Svid;

namespace Fabric.Tunnel.Drivers;

/// <summary>Counts what was turned away. Safe to call from any thread.</summary>
internal sealed class RefusalCounts
{
    private readonly long[] _counts = new long[Enum.GetValues<Refusal>().Length];
    private readonly long[] _certificates = new long[Enum.GetValues<SvidRejection>().Length];

    public void Add(Refusal kind) => Interlocked.Increment(ref _counts[(int)kind]);

    /// <summary>Counts it when it is that a certificate was refused, whichever side dialled.</summary>
    public void AddCertificate(Exception error)
    {
        if (error is CertificateRefusedException refused)
        {
            Interlocked.Increment(ref _certificates[(int)refused.Rejection]);
        }
    }

    /// <summary>Refused certificates by their code; every code is there.</summary>
    public ImmutableArray<CertificateRefusalCount> Certificates => [.. Enum.GetValues<SvidRejection>().Where(r => r != SvidRejection.None)
        .Select(r => new CertificateRefusalCount(r, Volatile.Read(ref _certificates[(int)r])))];

    public long this[Refusal kind] => Volatile.Read(ref _counts[(int)kind]);

    /// <param name="more">Counts that are kept elsewhere, to be added.</param>
    public ImmutableArray<RefusalCount> All(Func<Refusal, long> more) =>
        [.. Enum.GetValues<Refusal>().Select(kind => new RefusalCount(kind, this[kind] + more(kind)))];
}

/// <summary>
/// A log that strangers write to: ten lines at once, then one a second; the next line tells how many were left out.
/// </summary>
internal sealed class QuietLog(Action<string> log, TimeProvider time)
{
    private const int AtOnce = 10;

    private readonly Lock _lock = new();
    private double _left = AtOnce;
    private long _refilled = time.GetTimestamp();
    private long _omitted;

    public void Write(string line)
    {
        long omitted;
        lock (_lock)
        {
            var now = time.GetTimestamp();
            _left = Math.Min(AtOnce, _left + time.GetElapsedTime(_refilled, now).TotalSeconds);
            _refilled = now;
            if (_left < 1)
            {
                _omitted++;
                return;
            }

            _left--;
            (omitted, _omitted) = (_omitted, 0);
        }

        log(omitted == 0 ? line : $"{line} (and {omitted} like it that were not logged)");
    }
}
