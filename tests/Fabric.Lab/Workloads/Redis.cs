using System.Diagnostics;
using System.Globalization;

using Fabric.Lab.Networks;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Workloads;

/// <summary>redis-server of a site, holding nothing on disk.</summary>
public sealed class RedisServer(WorkFolder work, LabNetwork network, LabSite site) : IAsyncDisposable
{
    private Daemon? _daemon;

    public async Task Start()
    {
        _daemon = Daemon.Start(work, $"{site.Name}/redis", network.Inside(site, "redis-server",
            "--bind", $"{site.Cache.Address}", "--port", $"{site.Cache.Port}", "--save", "", "--appendonly", "no",
            "--protected-mode", "no", "--daemonize", "no", "--dir", work.Folder(site.Name)));
        await Poll.Until($"redis in {site.Name}", TimeSpan.FromSeconds(10), async () =>
            (await Command.Run(network.Inside(site, "redis-cli", "-h", $"{site.Cache.Address}", "-p", $"{site.Cache.Port}", "PING"))).Output.Trim() == "PONG",
            () => _daemon.Tail());
    }

    public async ValueTask DisposeAsync()
    {
        if (_daemon is not null)
        {
            await _daemon.DisposeAsync();
        }
    }
}

/// <summary>
/// One redis-cli that stays. redis-cli connects again by itself when its connection breaks; the server's number of the
/// connection (CLIENT ID) shows whether it is still the first one.
/// </summary>
public sealed class RedisSession : IAsyncDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly Process _process;

    private RedisSession(Process process) => _process = process;

    /// <summary>The server's number of the connection that this session began with.</summary>
    public long FirstId { get; private set; }

    /// <summary>Answers that were not what they must be, or came over another connection.</summary>
    public int Dropped { get; private set; }

    /// <param name="work">Where it is written down as ours.</param>
    /// <param name="commandLine">redis-cli with host and port, wherever it runs.</param>
    public static async Task<RedisSession> Open(WorkFolder work, string[] commandLine)
    {
        var process = Process.Start(Command.Info(commandLine))!;
        work.Own(process.Id);
        var session = new RedisSession(process);
        session.FirstId = await session.Id();
        return session;
    }

    /// <summary>PING, a written and read-back value, and the number of the connection. True when it is the first one still.</summary>
    public async Task<bool> Holds()
    {
        var value = $"{FirstId}-{Stopwatch.GetTimestamp()}";
        var held = await Ask("PING") == "PONG" && await Ask($"SET fabric:held {value}") == "OK"
            && await Ask("GET fabric:held") == value && await Id() == FirstId;
        Dropped += held ? 0 : 1;
        return held;
    }

    public async ValueTask DisposeAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private async Task<long> Id()
    {
        var answer = await Ask("CLIENT ID");
        return long.TryParse(answer, CultureInfo.InvariantCulture, out var id) ? id : throw new LabException($"redis-cli: CLIENT ID answered '{answer}'");
    }

    private async Task<string> Ask(string command)
    {
        using var timeout = new CancellationTokenSource(Limit);
        try
        {
            await _process.StandardInput.WriteLineAsync(command.AsMemory(), timeout.Token);
            await _process.StandardInput.FlushAsync(timeout.Token);
            return await _process.StandardOutput.ReadLineAsync(timeout.Token) ?? $"redis-cli ended: {await _process.StandardError.ReadToEndAsync(timeout.Token)}";
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            return $"no answer to {command} within {Limit.TotalSeconds:0} s";
        }
    }
}
