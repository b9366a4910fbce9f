using System.Diagnostics;

using Fabric.Lab.Processes;

namespace Fabric.Lab.Networks;

/// <summary>
/// What arrives at a device of a namespace, dropped or not. nft waits there for what to do: its rule is in force within a millisecond, where a program
/// that has to be started takes a tenth of a second on a machine that is busy.
/// </summary>
internal sealed class CuttableLine : IAsyncDisposable
{
    private const string Chain = "inet fabric_cut arriving";
    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(20);

    private readonly string _name;
    private readonly string _device;
    private readonly Process _nft;

    private CuttableLine(string name, string device) =>
        (_name, _device, _nft) = (name, device, Process.Start(Command.Info(["ip", "netns", "exec", name, "nft", "-i"]))!);

    /// <summary>A line that is whole.</summary>
    public static async Task<CuttableLine> Start(string name, string device)
    {
        var line = new CuttableLine(name, device);
        await line.Do("add table inet fabric_cut", $"add chain {Chain} {{ type filter hook prerouting priority -300; policy accept; }}");
        return line;
    }

    /// <summary>Returns when it is in force. At the sender's own output nft would answer with an error: not silent.</summary>
    public Task Cut() => Do($"flush chain {Chain}", $"add rule {Chain} iifname {_device} drop");

    public Task Heal() => Do($"flush chain {Chain}");

    public async ValueTask DisposeAsync()
    {
        if (!_nft.HasExited)
        {
            _nft.Kill();
            await _nft.WaitForExitAsync();
        }

        _nft.Dispose();
    }

    private async Task Do(params string[] commands)
    {
        using var timeout = new CancellationTokenSource(_limit);
        // It answers one after the other: when this is shown, the rest is done.
        await _nft.StandardInput.WriteAsync($"{string.Join('\n', commands)}\nlist table inet fabric_cut\n".AsMemory(), timeout.Token);
        await _nft.StandardInput.FlushAsync(timeout.Token);
        while (await _nft.StandardOutput.ReadLineAsync(timeout.Token) is var said && said != "}")
        {
            if (said is null)
            {
                throw new LabException($"nft in {_name} ended: {await _nft.StandardError.ReadToEndAsync(timeout.Token)}");
            }
        }
    }
}
