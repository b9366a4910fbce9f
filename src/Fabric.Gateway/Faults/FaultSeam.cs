using System.Collections.Immutable;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Faults;

/// <summary>
/// What faults make the rooms of the daemon believe: each asks here for its own part, and nothing else of them knows of faults. Any thread.
/// Faults of links are in <see cref="Tunnel.LinkFaults"/>, which the tunnel and the probes ask.
/// </summary>
internal sealed class FaultSeam(TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, FaultSpec> _held = new(StringComparer.Ordinal);
    private volatile View _view = new([], [], false, null);

    /// <summary>Something is believed, or no more. Raised on the thread that changed it.</summary>
    public event Action? Changed;

    /// <summary>Whether the own site's endpoints of that service count as down.</summary>
    public bool IsDown(string service) => _view.Down.Contains(service);

    /// <summary>Whether DNS answers as if no site could serve it.</summary>
    public bool IsWithdrawn(string service) => _view.Withdrawn.Contains(service);

    /// <summary>Whether the own certificate counts as expired, and is not renewed.</summary>
    public bool CertificateExpired => _view.Expired;

    /// <summary>Since when topology and identity cannot be read from where they come; null: they can.</summary>
    public DateTimeOffset? SourceGoneSince => _view.SourceGone;

    public bool SourceGone => _view.SourceGone is not null;

    public void Hold(FaultSpec fault) => Change(() => _held[fault.Id] = fault);

    public void Release(string id) => Change(() => _held.Remove(id));

    private void Change(Action change)
    {
        lock (_lock)
        {
            change();
            ImmutableHashSet<string> Of(string kind) => [.. _held.Values.Where(f => f.Kind == kind).Select(f => f.Service)];
            bool Any(string kind) => _held.Values.Any(f => f.Kind == kind);
            _view = new View(Of(FaultKind.ServiceDown), Of(FaultKind.DnsWithdraw), Any(FaultKind.CertExpire),
                Any(FaultKind.SourceGone) ? _view.SourceGone ?? time.GetUtcNow() : null);
        }

        Changed?.Invoke();
    }

    private sealed record View(ImmutableHashSet<string> Down, ImmutableHashSet<string> Withdrawn, bool Expired, DateTimeOffset? SourceGone);
}
