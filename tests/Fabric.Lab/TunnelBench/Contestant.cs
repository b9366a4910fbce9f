using System.Net;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>What carries connections from a client to the server: nothing, or a pair of processes with mutual TLS between them.</summary>
public abstract class Contestant : IAsyncDisposable
{
    /// <summary>Its column.</summary>
    public abstract string Name { get; }

    /// <summary>Where clients connect.</summary>
    public abstract IPEndPoint Address { get; }

    /// <summary>Of both ends, since the start.</summary>
    public Footprint Footprint { get; private set; } = new([]);

    public async Task Start()
    {
        await StartProcesses();
        await Poll.Until($"{Name} to answer", TimeSpan.FromSeconds(10), () => Task.FromResult(Answers()), Tail);
        // By now a master has started its workers.
        Footprint = new Footprint(Leaders);
    }

    public async Task Restart()
    {
        await Stop();
        await Start();
    }

    /// <summary>What it said of late.</summary>
    public virtual string Tail() => "";

    public virtual async ValueTask DisposeAsync() => await Stop();

    /// <summary>The processes that were started, each the leader of a group.</summary>
    protected abstract IReadOnlyCollection<int> Leaders { get; }

    protected abstract Task StartProcesses();

    protected abstract Task Stop();

    private bool Answers()
    {
        int fd;
        try
        {
            fd = Libc.Connect(Libc.Native(Address));
        }
        catch (LabException)
        {
            return false;
        }

        var answers = RequestLoad.Exchange(fd);
        Libc.close(fd);
        return answers;
    }
}

/// <summary>No proxy at all: what the load itself can do.</summary>
public sealed class Direct(IPEndPoint server) : Contestant
{
    public override string Name => "direct";
    public override IPEndPoint Address => server;

    protected override IReadOnlyCollection<int> Leaders => [];

    protected override Task StartProcesses() => Task.CompletedTask;

    protected override Task Stop() => Task.CompletedTask;
}
