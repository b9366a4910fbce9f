using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Faults;

/// <summary>One of the two means by which faults are made: the kernel, or the gateway's own seam.</summary>
internal interface IFaultMeans
{
    /// <summary><c>kernel</c> or <c>seam</c>.</summary>
    string Name { get; }

    /// <summary>Null when that kind can be had by these means; else why not, in one sentence without a full stop.</summary>
    string? WhyNot(string kind);

    /// <summary>How long one of that kind may last here, and why no longer, in one sentence without a full stop; null: as long as it is asked for.</summary>
    (TimeSpan Longest, string Why)? Limit(string kind) => null;

    /// <summary>
    /// What is to be done for it; nothing is touched yet. Throws <see cref="Protocol.Grpc.GrpcException"/>: NOT_FOUND for a link or service that
    /// this gateway does not have, FAILED_PRECONDITION for what cannot be done to this one.
    /// </summary>
    Task<PreparedFault> PrepareAsync(FaultSpec fault);

    /// <summary>
    /// Takes back what an earlier process left, of which the lease was found. What is gone already is no error. Throws <see cref="IOException"/> when something may still be
    /// in force.
    /// </summary>
    Task RevertLeftAsync(FaultLease lease);
}

/// <summary>A fault that can be applied, and taken back any number of times.</summary>
internal abstract class PreparedFault
{
    /// <summary>For the report: <c>nft</c>, <c>tc</c>, <c>tun</c>, <c>signal</c>, <c>seam</c>.</summary>
    public abstract string Means { get; }

    /// <inheritdoc cref="FaultLease.Detail"/>
    public virtual string Detail => "";

    /// <summary>Programs that take it back when this process cannot: for what outlives it. They succeed or fail, whatever is left.</summary>
    public virtual IReadOnlyList<string[]> Undo => [];

    /// <summary>Throws <see cref="IOException"/> when it cannot be done; what is half done is then taken back by <see cref="RevertAsync"/>.</summary>
    public abstract Task ApplyAsync();

    /// <summary>Throws <see cref="IOException"/> when something may still be in force.</summary>
    public abstract Task RevertAsync();

    /// <summary>After the answer: for what nobody answers after.</summary>
    public virtual void Answered()
    {
    }
}

/// <summary>Down, up, down, up, until it is stopped: then up.</summary>
internal sealed class Flapping(Func<bool, Task> set, TimeSpan down, TimeSpan up, TimeProvider time, Action<Exception> failed)
{
    private readonly CancellationTokenSource _stop = new();
    private Task _running = Task.CompletedTask;

    /// <summary>It is down when this returns.</summary>
    public async Task StartAsync()
    {
        await set(true);
        _running = RunAsync();
    }

    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await set(false);
    }

    private async Task RunAsync()
    {
        for (var isDown = true; ; isDown = !isDown)
        {
            await Task.Delay(isDown ? down : up, time, _stop.Token);
            try
            {
                await set(!isDown);
            }
            catch (IOException e)
            {
                failed(e);
            }
        }
    }
}
