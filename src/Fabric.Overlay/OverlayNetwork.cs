using System.Collections.Immutable;
using Fabric.Overlay.Netlink;

namespace Fabric.Overlay;

/// <summary>
/// Keeps the interfaces of a gateway equal to its plan. Each is reconciled alone: one that fails is reported and does not
/// stop the others; the next call tries again. Calls run one after the other.
/// </summary>
public sealed class OverlayNetwork(IWireGuardDriver driver, OverlayOptions options) : IAsyncDisposable
{
    private readonly SemaphoreSlim _gate = new(1);
    private readonly Dictionary<string, IWireGuardDevice> _devices = new(StringComparer.Ordinal); // under _gate
    private OverlayPlan _plan = OverlayPlan.Empty; // under _gate
    private bool _swept; // under _gate

    public IWireGuardDriver Driver => driver;

    /// <summary>
    /// Makes what is equal to the plan: removes interfaces that it does not name (at the first call also those that an earlier
    /// process of this owner left), opens new ones, applies differences to the rest. Returns what could not be done.
    /// </summary>
    public async Task<ImmutableArray<OverlayFault>> ReconcileAsync(OverlayPlan plan, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            _plan = plan;
            var faults = ImmutableArray.CreateBuilder<OverlayFault>();
            foreach (var name in _devices.Keys.Except(plan.Interfaces.Select(i => i.Interface)).ToArray())
            {
                _devices.Remove(name, out var device);
                await TryAsync(faults, name, () => device!.DisposeAsync().AsTask());
            }

            await TryAsync(faults, "(all)", () => Task.Run(() => SweepOnce(plan), cancellationToken));
            foreach (var planned in plan.Interfaces)
            {
                await TryAsync(faults, planned.Interface, async () =>
                {
                    if (!_devices.TryGetValue(planned.Interface, out var device))
                    {
                        device = await driver.OpenAsync(planned.Interface, cancellationToken);
                        _devices.Add(planned.Interface, device);
                    }

                    await device.ApplyAsync(planned.Config, cancellationToken);
                });
            }

            return faults.ToImmutable();
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>What each planned interface is now. A device that cannot be asked has a fault instead of a status.</summary>
    public async Task<ImmutableArray<OverlayInterfaceStatus>> GetStatusAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            var result = ImmutableArray.CreateBuilder<OverlayInterfaceStatus>();
            foreach (var planned in _plan.Interfaces)
            {
                var faults = ImmutableArray.CreateBuilder<OverlayFault>();
                DeviceStatus? status = null;
                await TryAsync(faults, planned.Interface,
                    async () => status = _devices.TryGetValue(planned.Interface, out var device)
                    ? await device.GetStatusAsync(cancellationToken)
                    : throw new OverlayException(OverlayStage.Interface, $"interface {planned.Interface} is not open"));
                result.Add(new(planned, status, faults.FirstOrDefault()));
            }

            return result.ToImmutable();
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>
    /// Lets go of all interfaces and leaves them working, for the next process to adopt. Then dispose does nothing.
    /// </summary>
    public Task DetachAsync() => EndAsync(device => device.DetachAsync());

    /// <summary>Removes all interfaces.</summary>
    public async ValueTask DisposeAsync() => await EndAsync(device => device.DisposeAsync().AsTask());

    private async Task EndAsync(Func<IWireGuardDevice, Task> end)
    {
        await _gate.WaitAsync();
        try
        {
            foreach (var device in _devices.Values)
            {
                await end(device);
            }

            _devices.Clear();
            _plan = OverlayPlan.Empty;
        }
        finally
        {
            _gate.Release();
        }
    }

    private void SweepOnce(OverlayPlan plan)
    {
        if (_swept)
        {
            return;
        }

        using var rtnetlink = Rtnetlink.Open(options.RequestTimeout);
        foreach (var link in rtnetlink.GetLinks())
        {
            if (link.Alias == Rtnetlink.AliasOf(options.Owner) && plan.Interfaces.All(i => i.Interface != link.Name))
            {
                options.Log?.Invoke($"{link.Name}: removed; an earlier process left it and the plan does not name it");
                rtnetlink.DeleteLink(link.Index);
            }
        }

        _swept = true;
    }

    private static async Task TryAsync(ImmutableArray<OverlayFault>.Builder faults, string name, Func<Task> action)
    {
        try
        {
            await action();
        }
        catch (OverlayException e)
        {
            faults.Add(new(name, e.Stage, e.Message));
        }
    }
}

/// <summary>What could not be done for an interface: <c>(all)</c> when it concerns none in particular.</summary>
public sealed record OverlayFault(string Interface, OverlayStage Stage, string Message);

/// <summary>An interface as planned and as it is; exactly one of <see cref="Status"/> and <see cref="Fault"/> is set.</summary>
public sealed record OverlayInterfaceStatus(OverlayInterface Planned, DeviceStatus? Status, OverlayFault? Fault);
