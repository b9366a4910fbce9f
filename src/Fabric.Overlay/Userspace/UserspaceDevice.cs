using Fabric.Overlay.Devices;
using Fabric.Overlay.Netlink;

namespace Fabric.Overlay.Userspace;

/// <summary>
/// A TUN interface and the WireGuard process behind it. The process is watched: when it ends it is started again, after a
/// wait that doubles, and configured as before.
/// </summary>
internal sealed class UserspaceDevice : WireGuardDevice
{
    private const string Kind = "tun";
    private static readonly TimeSpan _poll = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan _logInterval = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _time;
    private readonly UapiClient _uapi;
    private readonly ProcessLog _log;
    private readonly CancellationTokenSource _ending = new();
    private WireGuardProcess? _process; // under the gate, but for the watch, which alone replaces it
    private Task _watch = Task.CompletedTask;

    public UserspaceDevice(string name, OverlayOptions options, TimeProvider time) : base(name, options)
    {
        _time = time;
        _uapi = new(Path.Combine(options.UapiDirectory, name + ".sock"), options.RequestTimeout, time);
        OnDisk(options.RuntimeDirectory, () => Directory.CreateDirectory(options.RuntimeDirectory));
        _log = new(Path.Combine(options.RuntimeDirectory, name + ".log"));
    }

    /// <summary>Adopts the process that serves the interface already, or starts one; then watches it.</summary>
    public async Task OpenAsync(CancellationToken cancellationToken)
    {
        _process = await AdoptAsync(cancellationToken) ?? await StartAsync(cancellationToken);
        _watch = WatchAsync();
    }

    protected override Task PrepareAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    protected override Task<DeviceStatus> ReadAsync(CancellationToken cancellationToken) =>
        _uapi.GetAsync("userspace", Interface, cancellationToken);

    protected override Task WriteAsync(DeviceChange change, CancellationToken cancellationToken) =>
        _uapi.SetAsync(change, cancellationToken);

    protected override async Task ReleaseAsync(bool remove)
    {
        await _ending.CancelAsync();
        if (remove && _process is not null)
        {
            await _process.EndAsync(Options.ProcessTimeout);
            await ClearAsync(CancellationToken.None);
            Options.Log?.Invoke($"{Interface}: removed");
        }

        await _watch;
        _process?.Dispose();
        _ending.Dispose();
    }

    /// <summary>Null when there is nothing that can be adopted; what is left over of it is then removed.</summary>
    private async Task<WireGuardProcess?> AdoptAsync(CancellationToken cancellationToken)
    {
        var link = FindOwnLink();
        var id = await _uapi.FindProcessAsync(cancellationToken);
        if (id is not null && link is null)
        {
            throw new OverlayException(OverlayStage.Interface,
                $"process {id} serves {_uapi.Path}, but there is no interface {Interface} here: it is in another namespace, "
                + "and these sockets are shared; set another interface prefix");
        }

        if (id is > 0 && WireGuardProcess.Adopt(id.Value, _time) is { } process)
        {
            Mark();
            Options.Log?.Invoke($"{Interface}: adopted from process {id}, sessions intact");
            return process;
        }

        await ClearAsync(cancellationToken);
        return null;
    }

    /// <summary>
    /// Starts a process and waits for its socket and interface. Throws <see cref="OverlayException"/>; nothing is left then.
    /// </summary>
    private async Task<WireGuardProcess> StartAsync(CancellationToken cancellationToken)
    {
        var process = WireGuardProcess.Start(Options.UserspaceCommand,
            Options.UserspaceArguments.Select(a => a.Replace("{interface}", Interface, StringComparison.Ordinal)), _log.Path,
                _time);
        try
        {
            using var limit = new CancellationTokenSource(Options.ProcessTimeout, _time);
            using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
            var exit = process.WaitForExitAsync(CancellationToken.None);
            while (FindOwnLink() is null || await _uapi.FindProcessAsync(cancellationToken) != process.Id)
            {
                if (exit.IsCompleted || both.IsCancellationRequested)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    throw new OverlayException(OverlayStage.Interface, $"'{Options.UserspaceCommand}' "
                        + (exit.IsCompleted ? "ended at once"
                            : $"did not serve {_uapi.Path} within {Options.ProcessTimeout.TotalSeconds} s")
                        + $"; it wrote: {string.Join(" | ", _log.ReadNew())}");
                }

                await Task.WhenAny(exit, Task.Delay(_poll, _time, CancellationToken.None));
            }

            Mark();
            Options.Log?.Invoke($"{Interface}: made, process {process.Id}");
            return process;
        }
        catch
        {
            await process.EndAsync(Options.ProcessTimeout);
            process.Dispose();
            throw;
        }
    }

    /// <summary>Until the device is let go: tells what the process writes, and starts it again when it ends.</summary>
    private async Task WatchAsync()
    {
        var delay = Options.RestartDelay;
        while (!_ending.IsCancellationRequested)
        {
            var born = _time.GetTimestamp();
            await WaitForExitAsync();
            if (_ending.IsCancellationRequested)
            {
                return;
            }

            delay = _time.GetElapsedTime(born) > Options.MaxRestartDelay ? Options.RestartDelay : delay;
            var which = _process is null ? "there is no process" : $"process {_process.Id} ended";
            Options.Log?.Invoke($"{Interface}: {which}; next start in {delay.TotalSeconds:0.###} s");
            await Task.Delay(delay, _time, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            delay = TimeSpan.FromTicks(Math.Min(delay.Ticks * 2, Options.MaxRestartDelay.Ticks));
            try
            {
                await InTurnAsync(RestartAsync, _ending.Token);
            }
            catch (Exception e) when (e is OverlayException or OperationCanceledException)
            {
                if (!_ending.IsCancellationRequested)
                {
                    Options.Log?.Invoke($"{Interface}: {e.Message}");
                }
            }
        }
    }

    private async Task WaitForExitAsync()
    {
        var exit = _process?.WaitForExitAsync(_ending.Token) ?? Task.CompletedTask;
        do
        {
            await Task.WhenAny(exit, Task.Delay(_logInterval, _time, _ending.Token));
            foreach (var line in _log.ReadNew())
            {
                Options.Log?.Invoke($"{Interface}: {line}");
            }
        }
        while (!exit.IsCompleted);
    }

    private async Task<bool> RestartAsync()
    {
        _process?.Dispose();
        _process = null;
        Applied = null;
        await ClearAsync(_ending.Token);
        _process = await StartAsync(_ending.Token);
        if (Desired is { } config)
        {
            await ApplyInTurnAsync(config, _ending.Token);
        }

        return true;
    }

    /// <summary>
    /// Removes the interface and the socket when something of them is left. Without its interface a WireGuard process ends by
    /// itself; waits for that.
    /// </summary>
    private async Task ClearAsync(CancellationToken cancellationToken)
    {
        using (var rtnetlink = Rtnetlink.Open(Options.RequestTimeout))
        {
            if (FindOwn(rtnetlink, Interface, Kind, Options) is { } link)
            {
                rtnetlink.DeleteLink(link.Index);
                Options.Log?.Invoke($"{Interface}: a leftover was removed");
            }
        }

        using var limit = new CancellationTokenSource(Options.ProcessTimeout, _time);
        while (await _uapi.FindProcessAsync(cancellationToken) is { } id)
        {
            if (limit.IsCancellationRequested)
            {
                throw new OverlayException(OverlayStage.Interface,
                    $"process {id} still serves {_uapi.Path} without its interface; end it");
            }

            await Task.Delay(_poll, _time, cancellationToken);
        }

        if (File.Exists(_uapi.Path))
        {
            OnDisk(_uapi.Path, () => File.Delete(_uapi.Path));
        }
    }

    private Link? FindOwnLink()
    {
        using var rtnetlink = Rtnetlink.Open(Options.RequestTimeout);
        return FindOwn(rtnetlink, Interface, Kind, Options);
    }

    private void Mark()
    {
        using var rtnetlink = Rtnetlink.Open(Options.RequestTimeout);
        if (FindOwn(rtnetlink, Interface, Kind, Options) is { Alias: null } link)
        {
            rtnetlink.SetAlias(link, Rtnetlink.AliasOf(Options.Owner));
        }
    }

    private static void OnDisk(string path, Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OverlayException(OverlayStage.Interface, $"cannot use {path}: {e.Message}", 0, e);
        }
    }
}
