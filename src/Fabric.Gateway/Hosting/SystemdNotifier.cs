using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// Tells systemd how the daemon is, by the sd_notify protocol (systemd's sd_notify(3)): one datagram of <c>KEY=value</c> lines to
/// NOTIFY_SOCKET. Does nothing where the variable is not set. The stock package sends only READY and STOPPING; a daemon whose
/// readiness means something also needs STATUS, RELOADING and the watchdog.
/// </summary>
internal sealed class SystemdNotifier : IDisposable
{
    private readonly Socket? _socket;
    private readonly UnixDomainSocketEndPoint? _target;

    public SystemdNotifier(string? notifySocket, string? watchdogMicroseconds)
    {
        if (string.IsNullOrEmpty(notifySocket))
        {
            return;
        }

        // An abstract address is written with a leading '@'.
        _target = new UnixDomainSocketEndPoint(notifySocket[0] == '@' ? "\0" + notifySocket[1..] : notifySocket);
        _socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        if (long.TryParse(watchdogMicroseconds, CultureInfo.InvariantCulture, out var micros) && micros > 0)
        {
            // Half of what systemd allows, as sd_watchdog_enabled(3) advises.
            WatchdogInterval = TimeSpan.FromMicroseconds(micros / 2.0);
        }
    }

    /// <summary>How often <see cref="Watchdog"/> must be called; null when systemd does not watch.</summary>
    public TimeSpan? WatchdogInterval { get; }

    public void Ready(string status) => Send($"READY=1\n{StatusLine(status)}");

    public void Status(string status) => Send(StatusLine(status));

    public void Reloading() =>
        Send(string.Create(CultureInfo.InvariantCulture, $"RELOADING=1\nMONOTONIC_USEC={MonotonicMicroseconds()}"));

    public void Stopping(string status) => Send($"STOPPING=1\n{StatusLine(status)}");

    /// <summary>It starts yet, and does so for about that long: systemd's own limit must not end it.</summary>
    public void Extend(TimeSpan left) => Send(string.Create(CultureInfo.InvariantCulture,
        $"EXTEND_TIMEOUT_USEC={(long)(left + TimeSpan.FromSeconds(20)).TotalMicroseconds}\nSTATUS=kept dead by a drill"));

    public void Watchdog() => Send("WATCHDOG=1");

    public void Dispose() => _socket?.Dispose();

    // A refused topology has many lines; to systemd each further one would be an assignment of its own.
    private static string StatusLine(string status) => $"STATUS={status.ReplaceLineEndings(" ")}";

    private void Send(string message)
    {
        try
        {
            _socket?.SendTo(Encoding.UTF8.GetBytes(message), _target!);
        }
        catch (SocketException)
        {
            // systemd went away or is being re-executed: the next message may pass, and nothing else depends on this one.
        }
    }

    // systemd compares this with CLOCK_MONOTONIC, which is what Stopwatch reads on Linux.
    private static long MonotonicMicroseconds() => Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000_000);
}
