using Fabric.Overlay.Netlink;

namespace Fabric.Overlay.Devices;

/// <summary>What the drivers share: the order in which a configuration reaches an interface, one call after the other.</summary>
internal abstract class WireGuardDevice(string name, OverlayOptions options) : IWireGuardDevice
{
    private readonly SemaphoreSlim _gate = new(1);
    private bool _ended; // under _gate

    public string Interface => name;

    protected OverlayOptions Options => options;

    /// <summary>What was asked last, for a process that starts anew. Under the gate.</summary>
    protected DeviceConfig? Desired { get; private set; }

    /// <summary>What was applied last; null when the interface may have been made anew since. Under the gate.</summary>
    protected DeviceConfig? Applied { get; set; }

    public Task ApplyAsync(DeviceConfig config, CancellationToken cancellationToken)
    {
        DeviceConfigRules.Check(name, config);
        return InTurnAsync(async () =>
        {
            Desired = config;
            await ApplyInTurnAsync(config, cancellationToken);
            return true;
        }, cancellationToken);
    }

    public Task<DeviceStatus> GetStatusAsync(CancellationToken cancellationToken) =>
        InTurnAsync(() => ReadAsync(cancellationToken), cancellationToken);

    public Task DetachAsync() => EndAsync(remove: false);

    public async ValueTask DisposeAsync() => await EndAsync(remove: true);

    /// <summary>
    /// 1. WireGuard's own: key, port, peers, by difference. 2. MTU, link state, address, routes, by difference. Keys first: an
    /// interface never carries a packet before it knows its peers.
    /// </summary>
    protected async Task ApplyInTurnAsync(DeviceConfig config, CancellationToken cancellationToken)
    {
        await PrepareAsync(cancellationToken);
        var change = DeviceChange.Between(config, Applied, await ReadAsync(cancellationToken));
        if (!change.IsEmpty)
        {
            await WriteAsync(change, cancellationToken);
        }

        Applied = config;
        await Task.Run(() =>
        {
            using var rtnetlink = Rtnetlink.Open(options.RequestTimeout);
            rtnetlink.Configure(name, config.Mtu, config.Address, [.. config.Peers.SelectMany(p => p.AllowedIps).Distinct()]);
        }, cancellationToken);
    }

    /// <summary>Runs an action when no other runs. Throws when the device has ended.</summary>
    protected async Task<T> InTurnAsync<T>(Func<Task<T>> action, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            return _ended ? throw new OverlayException(OverlayStage.Interface, $"interface {name} was let go") : await action();
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Makes sure that the interface is there.</summary>
    protected abstract Task PrepareAsync(CancellationToken cancellationToken);

    protected abstract Task<DeviceStatus> ReadAsync(CancellationToken cancellationToken);

    protected abstract Task WriteAsync(DeviceChange change, CancellationToken cancellationToken);

    /// <summary>Lets go of the interface, and removes it when told to. Called once, and no other call comes after.</summary>
    protected abstract Task ReleaseAsync(bool remove);

    private async Task EndAsync(bool remove)
    {
        await _gate.WaitAsync();
        try
        {
            if (!_ended)
            {
                _ended = true;
                await ReleaseAsync(remove);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>
    /// The link of that name; null when there is none. Throws when it is not Fabric's to touch: of another kind, or of another
    /// owner. A link without an owner counts as ours: its maker died between making and marking it, and the name is ours.
    /// </summary>
    internal static Link? FindOwn(Rtnetlink rtnetlink, string name, string kind, OverlayOptions options)
    {
        var link = rtnetlink.FindLink(name);
        if (link is not null && link.Kind != kind)
        {
            throw new OverlayException(OverlayStage.Interface,
                $"interface {name} exists and is of kind '{link.Kind ?? "none"}', not '{kind}'; if nobody needs it run "
                + $"'ip link delete {name}', or set another interface prefix");
        }

        var alias = Rtnetlink.AliasOf(options.Owner);
        return link?.Alias is { } other && other != alias
            ? throw new OverlayException(OverlayStage.Interface,
                $"interface {name} belongs to '{other}', and this is '{alias}'; set another interface prefix for one of them")
            : link;
    }
}
