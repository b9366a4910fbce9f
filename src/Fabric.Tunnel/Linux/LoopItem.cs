namespace Fabric.Tunnel.Linux;

/// <summary>Something that an event loop runs in turns, when it has something to do.</summary>
internal abstract class LoopItem
{
    /// <summary>1 while it is in a queue of its loop.</summary>
    internal int IsQueued;

    /// <summary>Where the loop has it while its descriptor is watched; −1 else.</summary>
    internal int Slot = -1;

    protected LoopItem(EventLoop loop)
    {
        Loop = loop;
    }

    public EventLoop Loop { get; private set; }

    /// <summary>When in a turn it runs.</summary>
    public virtual LoopPhase Phase => LoopPhase.Ready;

    /// <summary>It is another loop's from now on. Nothing of it is watched; a turn that is queued is that loop's.</summary>
    protected void MoveTo(EventLoop loop) => Loop = loop;

    /// <summary>What epoll says of its descriptor. On the loop's thread.</summary>
    public virtual void OnEvents(uint events)
    {
    }

    /// <summary>Its turn, on the loop's thread; bounded work. It says <see cref="EventLoop.Schedule"/> when it wants another.</summary>
    public abstract void Run();

    /// <summary>The loop is ending: lets go of what it holds. On the loop's thread.</summary>
    public virtual void Stop()
    {
    }
}

/// <summary>The order of a turn.</summary>
internal enum LoopPhase
{
    /// <summary>Everything that is ready, each once.</summary>
    Ready,

    /// <summary>Then what sends the little things that the turn produced.</summary>
    Output,

    /// <summary>Then one of those that move bulk; the next has the next turn: small things wait for one of them at most.</summary>
    Bulk,
}

/// <summary>A call on the loop's thread.</summary>
internal sealed class LoopCall(EventLoop loop, Action call) : LoopItem(loop)
{
    public override void Run() => call();
}
