using Fabric.Gateway.Telemetry;
using Fabric.Protocol.Proto;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Faults;

/// <summary>What the kernel calls this boot; empty where it does not say.</summary>
internal static class BootId
{
    public static string Current { get; } = Read();

    private static string Read()
    {
        try
        {
            return File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}

/// <summary>
/// What an earlier process left: reverted before this one serves anything, also where faults are not allowed any more. Only a gateway that
/// was to be dead for a while stays so until then: whoever supervises it has started it again. What cannot be reverted keeps its lease, is said in status, events, the list
/// of faults and the log, and is tried again until it is: the site has nobody else to call, so the gateway serves meanwhile.
/// </summary>
internal sealed class LeftFaults(LeaseFolder leases, IReadOnlyList<IFaultMeans> means, TimeProvider time, ILogger log) : IAsyncDisposable
{
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan _first = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _longest = TimeSpan.FromMinutes(1);

    private readonly SemaphoreSlim _one = new(1);
    private readonly Lock _lock = new();
    private readonly Dictionary<string, (FaultLease Lease, string Failure)> _left = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private GatewayEvents? _events;
    private Task _trying = Task.CompletedTask;

    /// <summary>Those that are in force yet.</summary>
    public IReadOnlyList<FaultState> InForce => [.. Snapshot("").Select(l => new FaultState
    {
        Fault = l.Lease.Fault,
        State = "revert-failed",
        Means = l.Lease.Means,
        AppliedUnixUs = (l.Lease.EndsAt - FaultRules.Longest(l.Lease.Fault) - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond,
        Ended = l.Failure,
    })];

    /// <summary>For status.</summary>
    public IEnumerable<string> Problems => Snapshot("").Select(l =>
        $"fault {l.Lease.Fault.Id} ({l.Lease.Fault.Kind}) of drill {l.Lease.Fault.Drill}, which an earlier process left in force, could not be reverted: {l.Failure}");

    /// <summary>Once, at the start. Answers when each was tried.</summary>
    /// <param name="waits">Told about every 200 ms while a kill lasts, with how long it does yet.</param>
    public async Task RevertAsync(Action<TimeSpan> waits, CancellationToken cancellationToken)
    {
        foreach (var lease in leases.Read())
        {
            if (lease.Boot == BootId.Current && lease.Fault.Kind == FaultKind.GatewayKill)
            {
                await StayDeadAsync(lease, waits, cancellationToken);
            }

            await RevertAsync(lease);
        }
    }

    /// <summary>From now on it is told there, and what is left is tried again: after a second, then after twice as long each time, at most a minute.</summary>
    public void Start(GatewayEvents events)
    {
        _events = events;
        foreach (var (lease, failure) in Snapshot(""))
        {
            Tell(lease, "fault-revert-failed", failure);
        }

        _trying = TryAgainAsync();
    }

    /// <summary>Tries those of a drill at once; empty: all.</summary>
    public async Task RevertAsync(string drill)
    {
        foreach (var (lease, _) in Snapshot(drill))
        {
            await RevertAsync(lease);
        }
    }

    /// <summary>What is left is found by the next process.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _trying.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private List<(FaultLease Lease, string Failure)> Snapshot(string drill)
    {
        lock (_lock)
        {
            return [.. _left.Values.Where(l => drill.Length == 0 || l.Lease.Fault.Drill == drill).OrderBy(l => l.Lease.Fault.Id, StringComparer.Ordinal)];
        }
    }

    private async Task TryAgainAsync()
    {
        for (var wait = _first; Snapshot("").Count > 0; wait = wait * 2 < _longest ? wait * 2 : _longest)
        {
            await Task.Delay(wait, time, _stop.Token);
            await RevertAsync("");
        }
    }

    private async Task RevertAsync(FaultLease lease)
    {
        var fault = lease.Fault;
        await _one.WaitAsync(_stop.Token);
        try
        {
            // Another may have done it meanwhile; and a boot takes all with it that the kernel had.
            if (_events is not null && !Snapshot("").Any(l => l.Lease.Fault.Id == fault.Id))
            {
                return;
            }

            if (lease.Boot == BootId.Current && means.FirstOrDefault(m => m.Name == lease.Means) is { } by)
            {
                await by.RevertLeftAsync(lease);
            }

            leases.Remove(fault.Id);
            lock (_lock)
            {
                _left.Remove(fault.Id);
            }

            var why = lease.Boot == BootId.Current ? "restart" : "reboot";
            Log.FaultReverted(log, fault.Id, fault.Kind, why);
            Tell(lease, "fault-reverted", why);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            string? before;
            lock (_lock)
            {
                before = _left.GetValueOrDefault(fault.Id).Failure;
                _left[fault.Id] = (lease, e.Message);
            }

            if (before != e.Message)
            {
                Log.FaultNotReverted(log, fault.Id, fault.Kind, e.Message);
                Tell(lease, "fault-revert-failed", e.Message);
            }
        }
        finally
        {
            _one.Release();
        }
    }

    private void Tell(FaultLease lease, string what, string why) => _events?.Add(new GatewayEvent
    {
        Kind = what,
        Link = lease.Fault.Link,
        Peer = lease.Fault.Peer,
        Service = lease.Fault.Service,
        Text = $"{lease.Fault.Id}: {lease.Fault.Kind}, {why}",
    });

    /// <summary>Nobody can call a dead gateway off: whoever removes its lease does.</summary>
    private async Task StayDeadAsync(FaultLease lease, Action<TimeSpan> waits, CancellationToken cancellationToken)
    {
        // A clock that was set back must not keep it dead for longer than was asked.
        var longest = FaultRules.Longest(lease.Fault);
        var started = time.GetTimestamp();
        Log.StaysDead(log, lease.Fault.Id, lease.Fault.Drill, lease.EndsAt);
        while (lease.EndsAt - time.GetUtcNow() is var left && left > TimeSpan.Zero && time.GetElapsedTime(started) < longest && File.Exists(leases.Of(lease.Fault.Id)))
        {
            waits(left);
            await Task.Delay(left < _look ? left + TimeSpan.FromMilliseconds(1) : _look, time, cancellationToken);
        }
    }
}
