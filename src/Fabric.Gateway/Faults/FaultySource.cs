using Fabric.Identity;
using Fabric.Identity.Sources;

namespace Fabric.Gateway.Faults;

/// <summary>Where the identity comes from, as faults have it: gone, or with nothing new while the certificate counts as expired.</summary>
internal sealed class FaultySource(IIdentitySource inner, FaultSeam seam) : IIdentitySource
{
    /// <summary>A source that is back is asked soon.</summary>
    private static readonly TimeSpan _soon = TimeSpan.FromSeconds(2);

    public string Name => inner.Name;

    public TimeSpan LongestRetry => seam.SourceGone ? _soon : inner.LongestRetry;

    public async Task<IdentityState> NextAsync(GatewayIdentity? self, CancellationToken ct)
    {
        if (self is null)
        {
            return await inner.NextAsync(self, ct);
        }

        while (true)
        {
            // Told of each change; the wait that is on then begins again.
            using var changed = CancellationTokenSource.CreateLinkedTokenSource(ct);
            void OnChanged()
            {
                try
                {
                    changed.Cancel();
                }
                catch (ObjectDisposedException)
                {
                    // An earlier change ended that wait, and the next one looks at this as well. Who changed it, a fault's end above all, has nothing to fail by.
                }
            }

            seam.Changed += OnChanged;
            try
            {
                if (seam.SourceGone)
                {
                    throw new JoinException(JoinFailure.Unreachable, $"{inner.Name} cannot be read: a drill took it away");
                }

                if (!seam.CertificateExpired)
                {
                    return await inner.NextAsync(self, changed.Token);
                }

                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, changed.Token);
            }
            catch (OperationCanceledException) when (changed.IsCancellationRequested && !ct.IsCancellationRequested)
            {
                // Looked at again.
            }
            finally
            {
                seam.Changed -= OnChanged;
            }
        }
    }

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}
