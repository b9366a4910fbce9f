namespace Fabric.Identity.Sources;

/// <summary>
/// Where a gateway's identity comes from: its certificate and key, the intermediates, the bundle, and word when any of them changes.
/// One reader: calls do not overlap. Disposing closes what is open.
/// </summary>
public interface IIdentitySource : IAsyncDisposable
{
    /// <summary>Kind and place, for logs and status, such as <c>spiffe unix:/run/spire/agent.sock</c>. Never a secret.</summary>
    string Name { get; }

    /// <summary>How long to wait at most between tries while it fails. Default 5 min; less where a try costs nobody anything.</summary>
    TimeSpan LongestRetry => RenewalLoop.LongestRetry;

    /// <summary>
    /// Without <paramref name="self"/>, the identity that there is now. With it, the next one, whenever that is: the call waits. What
    /// it returns is verified. Throws <see cref="JoinException"/> when the authority is away, refuses or answers badly, and
    /// <see cref="IOException"/>, <see cref="UnauthorizedAccessException"/> or <see cref="InvalidDataException"/> for files of this
    /// host; whoever asks keeps what it has, and asks again later.
    /// </summary>
    Task<IdentityState> NextAsync(GatewayIdentity? self, CancellationToken ct);
}

/// <summary>
/// When a source asks for the next certificate: at half the life of the present one, or at once when the mesh asks for it. What is overdue
/// waits as a first retry does, so that an authority which issues short lives is not hammered.
/// </summary>
internal sealed class HalfLife(TimeProvider time)
{
    private DateTimeOffset _last = time.GetUtcNow();

    public async Task WaitAsync(GatewayIdentity self, CancellationToken ct)
    {
        var due = RenewalLoop.RenewAt(self.Certificate.TargetCertificate);
        var soonest = _last + RenewalLoop.FirstRetry;
        await RenewalLoop.WaitUntil(due > soonest ? due : soonest, time, ct, self.RenewalAsked);
        _last = time.GetUtcNow();
    }
}
