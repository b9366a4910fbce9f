using Fabric.Gateway.Telemetry;
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
/// was to be dead for a while stays so until then: whoever supervises it has started it again.
/// </summary>
internal static class LeftFaults
{
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(200);

    /// <param name="waits">Told about every 200 ms while a kill lasts, with how long it does yet.</param>
    public static async Task RevertAsync(
        LeaseFolder leases, IReadOnlyList<IFaultMeans> means, Action<TimeSpan> waits, TimeProvider time, ILogger log, CancellationToken cancellationToken)
    {
        foreach (var lease in leases.Read())
        {
            if (lease.Boot == BootId.Current && lease.Fault.Kind == FaultKind.GatewayKill)
            {
                await StayDeadAsync(lease, leases, waits, time, log, cancellationToken);
            }
            else if (lease.Boot == BootId.Current && means.FirstOrDefault(m => m.Name == lease.Means) is { } by)
            {
                await by.RevertLeftAsync(lease);
            }

            leases.Remove(lease.Fault.Id);
            Log.FaultReverted(log, lease.Fault.Id, lease.Fault.Kind, lease.Boot == BootId.Current ? "restart" : "reboot");
        }
    }

    /// <summary>Nobody can call a dead gateway off: whoever removes its lease does.</summary>
    private static async Task StayDeadAsync(
        FaultLease lease, LeaseFolder leases, Action<TimeSpan> waits, TimeProvider time, ILogger log, CancellationToken cancellationToken)
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
