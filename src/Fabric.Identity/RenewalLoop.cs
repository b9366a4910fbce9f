using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Sources;

namespace Fabric.Identity;

/// <summary>
/// What came of asking the source once. <see cref="Error"/> is null when it was good; then <see cref="Changed"/> says whether it was
/// anything new.
/// </summary>
public sealed record RenewalAttempt(DateTimeOffset At, Exception? Error, int FailuresInARow, bool Changed, DateTimeOffset Expires);

/// <summary>
/// Follows the source of a gateway's identity: each next state is swapped in, and on failure the present one stays and the source is
/// asked again and again until it answers: first after 5 s, then twice as long each time up to 5 min. It looks at the clock at least
/// once a minute, so a machine that slept renews on waking.
/// </summary>
/// <param name="report">Called after each attempt, for logs and status; must not throw.</param>
public sealed class RenewalLoop(
    GatewayIdentity identity, IIdentitySource source, TimeProvider time, Random random, Action<RenewalAttempt>? report = null)
{
    public static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(5);
    public static readonly TimeSpan LongestRetry = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Look = TimeSpan.FromMinutes(1);

    /// <summary>A source that speaks without end is listened to this often.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <summary>Half of the life, moved by up to a tenth of itself: <paramref name="jitter"/> from −1 to 1.</summary>
    public static DateTimeOffset RenewAt(DateTimeOffset notBefore, DateTimeOffset notAfter, double jitter) =>
        notBefore + (notAfter - notBefore) * (0.5 * (1 + 0.1 * Math.Clamp(jitter, -1, 1)));

    /// <summary>
    /// As <see cref="RenewAt(DateTimeOffset, DateTimeOffset, double)"/>, with the jitter drawn from the certificate itself: whoever
    /// asks again gets the same answer.
    /// </summary>
    internal static DateTimeOffset RenewAt(X509Certificate2 leaf) => RenewAt(
        leaf.NotBefore, leaf.NotAfter, BitConverter.ToUInt16(leaf.GetCertHash(HashAlgorithmName.SHA256)) / 32767.5 - 1);

    /// <summary>5 s · 2^(failures − 1), at most 5 min, moved by up to a fifth of itself: jitter from −1 to 1.</summary>
    public static TimeSpan RetryAfter(int failures, double jitter) =>
        TimeSpan.FromSeconds(Math.Min(FirstRetry.TotalSeconds * Math.Pow(2, Math.Min(failures, 30) - 1),
            LongestRetry.TotalSeconds))
        * (1 + 0.2 * Math.Clamp(jitter, -1, 1));

    /// <summary>Runs until cancelled. Then it throws <see cref="OperationCanceledException"/>.</summary>
    public async Task RunAsync(CancellationToken ct)
    {
        var failures = 0;
        while (true)
        {
            Exception? error = null;
            var changed = false;
            try
            {
                changed = identity.Swap(await source.NextAsync(identity, ct));
                failures = 0;
            }
            catch (Exception e) when (!ct.IsCancellationRequested)
            {
                error = e;
                failures++;
            }

            report?.Invoke(new RenewalAttempt(time.GetUtcNow(), error, failures, changed, identity.Validity.NotAfter));
            var wait = error is null ? Pause : RetryAfter(failures, random.NextDouble() * 2 - 1);
            await WaitUntil(time.GetUtcNow() + (wait < source.LongestRetry ? wait : source.LongestRetry), time, ct);
        }
    }

    /// <param name="sooner">Ends the wait when it completes; null: nothing does.</param>
    internal static async Task WaitUntil(DateTimeOffset due, TimeProvider time, CancellationToken ct, Task? sooner = null)
    {
        while (sooner is not { IsCompleted: true } && due - time.GetUtcNow() is var left && left > TimeSpan.Zero)
        {
            // Timers count whole milliseconds and round down: the rest of one would be no wait at all.
            var look = Task.Delay(left < Look ? TimeSpan.FromMilliseconds(Math.Ceiling(left.TotalMilliseconds)) : Look, time, ct);
            await (sooner is null ? look : await Task.WhenAny(look, sooner));
        }
    }
}
