namespace Fabric.Identity;

/// <summary>One attempt to renew. <see cref="Error"/> is null when it succeeded.</summary>
public sealed record RenewalAttempt(DateTimeOffset At, Exception? Error, int FailuresInARow, DateTimeOffset NextAt,
    DateTimeOffset Expires);

/// <summary>
/// Renews a gateway's certificate at half its life, and on failure again and again until it succeeds: first after 5 s, then twice
/// as long each time up to 5 min. It looks at the clock at least once a minute, so a machine that slept renews on waking.
/// </summary>
/// <param name="renew">Performs one renewal (over the network or locally) and swaps the certificate; throws on failure.</param>
/// <param name="validity">From when until when the present certificate is valid; asked before each wait.</param>
/// <param name="report">Called after each attempt, for logs and status; must not throw.</param>
public sealed class RenewalLoop(
    Func<CancellationToken, Task> renew,
    Func<(DateTimeOffset NotBefore, DateTimeOffset NotAfter)> validity,
    TimeProvider time,
    Random random,
    Action<RenewalAttempt>? report = null)
{
    public static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(5);
    public static readonly TimeSpan LongestRetry = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Look = TimeSpan.FromMinutes(1);

    /// <summary>Half of the life, moved by up to a tenth of itself: <paramref name="jitter"/> from −1 to 1.</summary>
    public static DateTimeOffset RenewAt(DateTimeOffset notBefore, DateTimeOffset notAfter, double jitter) =>
        notBefore + (notAfter - notBefore) * (0.5 * (1 + 0.1 * Math.Clamp(jitter, -1, 1)));

    /// <summary>5 s · 2^(failures − 1), at most 5 min, moved by up to a fifth of itself: jitter from −1 to 1.</summary>
    public static TimeSpan RetryAfter(int failures, double jitter) =>
        TimeSpan.FromSeconds(Math.Min(FirstRetry.TotalSeconds * Math.Pow(2, Math.Min(failures, 30) - 1),
            LongestRetry.TotalSeconds))
        * (1 + 0.2 * Math.Clamp(jitter, -1, 1));

    /// <summary>Runs until cancelled. Then it throws <see cref="OperationCanceledException"/>.</summary>
    public async Task RunAsync(CancellationToken ct)
    {
        var failures = 0;
        var next = Planned();
        while (true)
        {
            await WaitUntil(next, ct);
            Exception? error = null;
            try
            {
                await renew(ct);
                failures = 0;
                next = Planned();
            }
            catch (Exception e) when (!ct.IsCancellationRequested)
            {
                error = e;
                failures++;
                next = time.GetUtcNow() + RetryAfter(failures, Jitter());
            }

            report?.Invoke(new RenewalAttempt(time.GetUtcNow(), error, failures, next, validity().NotAfter));
        }
    }

    /// <summary>
    /// What is overdue waits as a first retry does, so that an authority which issues short lives is not hammered.
    /// </summary>
    private DateTimeOffset Planned()
    {
        var (from, until) = validity();
        var due = RenewAt(from, until, Jitter());
        return due <= time.GetUtcNow() ? time.GetUtcNow() + RetryAfter(1, Jitter()) : due;
    }

    private async Task WaitUntil(DateTimeOffset due, CancellationToken ct)
    {
        while (due - time.GetUtcNow() is var left && left > TimeSpan.Zero)
        {
            // Timers count whole milliseconds and round down: the rest of one would be no wait at all.
            await Task.Delay(left < Look ? TimeSpan.FromMilliseconds(Math.Ceiling(left.TotalMilliseconds)) : Look, time, ct);
        }
    }

    private double Jitter() => random.NextDouble() * 2 - 1;
}
