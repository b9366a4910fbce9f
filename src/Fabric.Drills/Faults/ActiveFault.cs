namespace Fabric.Drills.Faults;

/// <summary>
/// A fault in force. Disposing it reverts it, once, and throws <see cref="FaultNotRevertedException"/> when that could not be
/// done; its limit reverts it when nobody does.
/// </summary>
public sealed class ActiveFault : IAsyncDisposable
{
    private readonly Lazy<Task> _revert;
    private readonly ITimer _limit;
    private bool _expired;

    internal ActiveFault(LinkFault fault, TimeSpan limit, Func<Task> revert, TimeProvider time)
    {
        Fault = fault;
        _revert = new Lazy<Task>(revert);
        _limit = time.CreateTimer(_ => Expire(), null, limit, Timeout.InfiniteTimeSpan);
    }

    public LinkFault Fault { get; }

    /// <summary>The limit came before the drill was done with it.</summary>
    public bool Expired => Volatile.Read(ref _expired);

    /// <summary>Reverts it now. Later calls wait for the same.</summary>
    public async Task RevertAsync()
    {
        await _limit.DisposeAsync();
        await _revert.Value;
    }

    public async ValueTask DisposeAsync() => await RevertAsync();

    private void Expire()
    {
        if (!_revert.IsValueCreated)
        {
            Volatile.Write(ref _expired, true);
            // Its failure is told to whoever disposes it.
            _ = _revert.Value.ContinueWith(
                t => t.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        }
    }
}
