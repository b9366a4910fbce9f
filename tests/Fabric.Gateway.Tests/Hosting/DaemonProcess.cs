using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Fabric.Gateway.Hosting;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>A daemon as a process of its own, at the most talkative log level; what it writes is kept.</summary>
internal sealed class DaemonProcess : IAsyncDisposable
{
    private readonly Process _process;

    private DaemonProcess(Process process, string socket)
    {
        (_process, Admin) = (process, new AdminClient(socket));
        _process.OutputDataReceived += (_, line) => Lines.Enqueue(line.Data ?? "");
        _process.ErrorDataReceived += (_, line) => Lines.Enqueue(line.Data ?? "");
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public ConcurrentQueue<string> Lines { get; } = new();

    public AdminClient Admin { get; }

    /// <summary>As the system shows it to everybody.</summary>
    public string CommandLine => File.ReadAllText($"/proc/{_process.Id}/cmdline");

    public static async Task<DaemonProcess> StartAsync(DaemonOptions options)
    {
        var start = new ProcessStartInfo(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "dotnet"))
        {
            ArgumentList =
            {
                Path.Combine(AppContext.BaseDirectory, "fabricd.dll"), "--state", options.State, "--topology", options.Topology,
                "--socket", options.Socket, "--wireguard", options.WireGuard,
            },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["FABRIC_LOG"] = "trace";
        if (options.Ca is { } ca)
        {
            start.ArgumentList.Add("--ca");
            start.ArgumentList.Add(ca);
        }

        var daemon = new DaemonProcess(Process.Start(start)!, options.Socket);
        await Wait.UntilAsync(() => daemon.Says("\"Ready\""), () => $"it is ready: {string.Join('\n', daemon.Lines)}");
        return daemon;
    }

    /// <summary>Whether some line of its log has that text.</summary>
    public bool Says(string text) => Lines.Any(l => l.Contains(text, StringComparison.Ordinal));

    public async ValueTask DisposeAsync()
    {
        Admin.Dispose();
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}
