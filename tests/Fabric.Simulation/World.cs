using Fabric.Topology.Model;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>What must never happen did; the message has the seed and the instant.</summary>
public sealed class InvariantException(string message) : Exception(message);

/// <summary>
/// Sites, gateways and links between them, and everything that happens to them, on virtual time: one queue of events, one source
/// of chance. The same seed gives the same events, in every process. One thread.
/// </summary>
internal sealed class World
{
    private readonly PriorityQueue<Action, (long Due, long Order)> _events = new();
    private readonly Queue<string>? _tail;
    private long _order;

    /// <param name="seed">Everything follows from it.</param>
    /// <param name="mistake">Planted into every session.</param>
    /// <param name="tail">How many of the last happenings to keep as text.</param>
    public World(int seed, Mistake mistake = Mistake.None, int tail = 0)
    {
        (Seed, Mistake) = (seed, mistake);
        TailLength = tail;
        _tail = tail > 0 ? new Queue<string>() : null;
        Random = new Random(seed);
        Time = new SimTime(this);
        Figures = Figures.Draw(Random);
        Topology = DrawnTopology.Draw(Random, Figures);
        Links = [.. Topology.Links.Select((link, index) => new Network.SimLink(this, link, index))];
        Endpoints = new Gateways.Endpoints(this);
        Gateways = [.. Topology.Sites.SelectMany(s => s.Gateways).Select(g => new Gateways.SimGateway(this, g))];
        Faults = new Faults(this);
        Calls = new Applications.Calls(this);
    }

    public int Seed { get; }

    public Mistake Mistake { get; }

    public Random Random { get; }

    public SimTime Time { get; }

    public Figures Figures { get; }

    public FabricTopology Topology { get; }

    public Network.SimLink[] Links { get; }

    public Gateways.Endpoints Endpoints { get; }

    /// <summary>In the order of the topology; a restart puts a new process in the place of the old.</summary>
    public Gateways.SimGateway[] Gateways { get; }

    public Faults Faults { get; }

    public Applications.Calls Calls { get; }

    public Counters Counters { get; } = new();

    /// <summary>Output of one turn of a lane; used within one event.</summary>
    public FrameBatch Batch { get; } = new();

    public TimeSpan Now { get; private set; }

    public long Steps { get; private set; }

    public bool IsHealed => Faults.IsHealed;

    /// <summary>FNV-1a over everything that happened.</summary>
    public ulong Digest { get; private set; } = 14695981039346656037;

    private int TailLength { get; }

    /// <summary>The last happenings, when they were asked for.</summary>
    public IEnumerable<string> Tail => _tail ?? Enumerable.Empty<string>();

    public Gateways.SimGateway Gateway(string name) => Array.Find(Gateways, g => g.Name == name)!;

    public bool AreLinked(Gateways.SimGateway a, Gateways.SimGateway b) =>
        Array.Exists(Links, l => l.Plan.Touches(a.Name) && l.Plan.Touches(b.Name));

    /// <summary>By a link, or through one other gateway that is linked to both and relays.</summary>
    public bool AreReachable(Gateways.SimGateway a, Gateways.SimGateway b) => AreLinked(a, b)
        || Array.Exists(Gateways, r => r != a && r != b && AreLinked(a, r) && AreLinked(r, b) && Topology.Sites[r.Site].Relay);

    // ---- time

    public void After(TimeSpan delay, Action action) => _events.Enqueue(action, ((Now + delay).Ticks, _order++));

    public TimeSpan Ms(double least, double most) => TimeSpan.FromMilliseconds(least + Random.NextDouble() * (most - least));

    public bool OneIn(int n) => Random.Next(n) == 0;

    // ---- what happened, and what must not

    public void Note(string what, string who, long a = 0, long b = 0)
    {
        var digest = Mix(Mix(Mix(Digest, Now.Ticks), a), b);
        foreach (var c in what)
        {
            digest = (digest ^ c) * 1099511628211;
        }

        foreach (var c in who)
        {
            digest = (digest ^ c) * 1099511628211;
        }

        Digest = digest;
        if (_tail is not null)
        {
            if (_tail.Count == TailLength)
            {
                _tail.Dequeue();
            }

            _tail.Enqueue($"{Now.TotalSeconds,9:0.00000} {what,-10} {who,-16} {a} {b}");
        }
    }

    private static ulong Mix(ulong digest, long value) => (digest ^ (ulong)value) * 1099511628211;

    public void Check(bool holds, string what)
    {
        if (!holds)
        {
            Fail(what);
        }
    }

    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    public void Fail(string what) => throw new InvariantException($"seed {Seed} at {Now.TotalSeconds:0.000} s: {what}");

    // ---- the run

    /// <summary>From the start to quiet, or to the first invariant that does not hold.</summary>
    public void Run()
    {
        try
        {
            foreach (var gateway in Gateways)
            {
                After(Ms(0, 300), gateway.Start);
            }

            Calls.Begin();
            Faults.Begin();
            new Ending(this).Begin();
            while (!IsOver && _events.TryDequeue(out var action, out var due))
            {
                Now = TimeSpan.FromTicks(due.Due);
                Steps++;
                action();
            }

            Check(IsOver, "nothing is left to happen, and the end was not reached");
        }
        catch (Exception error) when (error is not InvariantException)
        {
            throw new InvariantException($"seed {Seed} at {Now.TotalSeconds:0.000} s: {error}");
        }
    }

    /// <summary>Set by <see cref="Ending"/> when all that is to be shown was shown.</summary>
    public bool IsOver { get; set; }
}

/// <summary>The world's time, for what asks a <see cref="TimeProvider"/>. Nothing may wait on it: events do.</summary>
internal sealed class SimTime(World world) : TimeProvider
{
    public static readonly DateTimeOffset Epoch = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public override DateTimeOffset GetUtcNow() => Epoch + world.Now;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => world.Now.Ticks;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        throw new NotSupportedException("a timer in the simulation would fire outside of its order: use an event");
}

/// <summary>What was exercised; sums over worlds show that the simulation is no walk in a garden.</summary>
internal sealed class Counters
{
    public long Worlds = 1;
    public long Calls;
    public long Completed;
    public long Reset;
    public long Refused;
    public long Retried;
    public long Local;
    public long BytesChecked;
    public long Sent;
    public long Resent;
    public long Copied;
    public long Mirrored;
    public long Moves;
    public long Relayed;
    public long Suspicions;
    public long Discarded;
    public long Kills;
    public long Drains;
    public long Reloads;
    public long Cuts;
    public long SessionsLost;
    public long Watches;
    public long Steps;

    public void Add(Counters other)
    {
        foreach (var field in typeof(Counters).GetFields())
        {
            field.SetValue(this, (long)field.GetValue(this)! + (long)field.GetValue(other)!);
        }
    }

    public IEnumerable<(string Name, long Value)> All => typeof(Counters).GetFields().Select(f => (f.Name, (long)f.GetValue(this)!));

    public override string ToString() => string.Join(", ", All.Select(f => $"{f.Name} {f.Value}"));
}
