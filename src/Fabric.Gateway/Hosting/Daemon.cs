using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fabric.Gateway.Control;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
using Fabric.Identity;
using Fabric.Topology;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// The life of the process: load, start, follow the topology and the signals, drain, stop. Exit codes: 0 stopped as asked, 1 could
/// not start (the reason is on standard error).
/// </summary>
internal static class Daemon
{
    public const string IdentityFolder = "identity";
    public const string LastGoodFolder = "topology";
    private static readonly TimeSpan _topologyInterval = TimeSpan.FromSeconds(1);

    public static async Task<int> RunAsync(DaemonOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        using var logs = LoggerFactory.Create(Logging.Configure);
        var log = logs.CreateLogger("Fabric");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            using var systemd = new SystemdNotifier(
                Environment.GetEnvironmentVariable("NOTIFY_SOCKET"), Environment.GetEnvironmentVariable("WATCHDOG_USEC"));
            using var reload = new SemaphoreSlim(0, 1);
            using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal => End(signal, stop));
            using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => End(signal, stop));
            using var hangup = OperatingSystem.IsWindows() ? null : PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal =>
            {
                signal.Cancel = true;
                Release(reload);
            });

            options = options with { Watchdog = systemd.WatchdogInterval * 2 };
            await using var gateway = await GatewayProcess.StartAsync(options, time, logs, stop.Token, systemd.Extend);
            systemd.Ready(gateway.Summary());
            Log.Ready(log);
            await FollowAsync(gateway, systemd, reload, time, log, stop.Token);

            Log.Stopping(log, options.DrainLimit);
            systemd.Stopping("draining");
            using var impatient = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => signal.Cancel = false);
            Log.Stopped(log, await gateway.DrainAsync(options.DrainLimit, CancellationToken.None));
            return 0;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return 0;
        }
        catch (Exception e) when (e is IOException or SocketException or UnauthorizedAccessException or InvalidDataException or TopologyRefusedException
            or JoinException or Overlay.OverlayException)
        {
            await Console.Error.WriteLineAsync($"fabricd cannot start: {e.Message}");
            return 1;
        }
    }

    /// <summary>Until asked to stop: the topology is looked at every second and on SIGHUP, the watchdog is fed while the loop turns.</summary>
    private static async Task FollowAsync(
        GatewayProcess gateway, SystemdNotifier systemd, SemaphoreSlim reload, TimeProvider time, ILogger log, CancellationToken stop)
    {
        var lastFed = time.GetTimestamp();
        while (true)
        {
            bool asked;
            try
            {
                asked = await reload.WaitAsync(_topologyInterval, stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            if (asked)
            {
                systemd.Reloading();
            }

            try
            {
                gateway.Reload(force: asked);
            }
            catch (TopologyRefusedException e)
            {
                // Told once for each content: the source's fingerprint has moved on.
                Log.TopologyRefused(log, gateway.Revision, e.Message);
            }

            if (asked)
            {
                systemd.Ready(gateway.Summary());
            }

            systemd.Status(gateway.Summary());
            if (systemd.WatchdogInterval is { } interval && gateway.Alive && time.GetElapsedTime(lastFed) >= interval / 2)
            {
                systemd.Watchdog();
                lastFed = time.GetTimestamp();
            }
        }
    }

    private static void End(PosixSignalContext signal, CancellationTokenSource stop)
    {
        signal.Cancel = true;
        stop.Cancel();
    }

    private static void Release(SemaphoreSlim semaphore)
    {
        try
        {
            semaphore.Release();
        }
        catch (SemaphoreFullException)
        {
            // A reload is asked for already.
        }
    }
}
