using System.Collections.Immutable;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>What must never happen did; the message has the seed.</summary>
public sealed class InvariantException(string message) : Exception(message);

/// <summary>
/// Two gateways, links between them that delay, stall, and die with and without a word, and applications that stream through
/// them, on virtual time. Everything follows from the seed.
/// </summary>
internal sealed class World
{
    public static readonly string[] Links = ["one", "two", "three"];

    private static readonly TimeSpan _end = TimeSpan.FromSeconds(300);

    private readonly PriorityQueue<Action, (TimeSpan, long)> _events = new();
    private readonly List<SimLane> _lanes = [];
    private readonly Dictionary<string, bool> _linkIsCut = Links.ToDictionary(l => l, _ => false);
    private readonly TimeSpan _heal;
    private long _sequence;
    private uint _epoch;

    public World(int seed, Mistake mistake = Mistake.None)
    {
        Seed = seed;
        Random = new Random(seed);
        _heal = TimeSpan.FromSeconds(1 + Random.Next(6));
        Limits = new TunnelLimits
        {
            InitialWindow = 4096 << Random.Next(5),
            MaxWindow = 65_536 << Random.Next(3),
            Memory = 16L << 20,
            Grace = TimeSpan.FromSeconds(30),
            PingInterval = TimeSpan.FromSeconds(1),
            LaneTimeout = TimeSpan.FromSeconds(5),
        };
        A = new SimEnd(this, "A", true, mistake);
        B = new SimEnd(this, "B", false, mistake);
        (A.Peer, B.Peer) = (B, A);
        LosesSession = Random.Next(12) == 0;
    }

    public int Seed { get; }

    public Random Random { get; }

    public TunnelLimits Limits { get; }

    public SimEnd A { get; }

    public SimEnd B { get; }

    public TimeSpan Now { get; private set; }

    /// <summary>In this run no lane comes back within the grace.</summary>
    public bool LosesSession { get; }

    public bool IsHealed => Now >= _heal;

    /// <summary>FNV-1a over everything that happened.</summary>
    public ulong Trace { get; private set; } = 14695981039346656037;

    public long Steps { get; private set; }

    public void Note(long a, long b = 0, long c = 0)
    {
        foreach (var value in (ReadOnlySpan<long>)[a, b, c, Now.Ticks])
        {
            Trace = (Trace ^ (ulong)value) * 1099511628211;
        }
    }

    public void Check(bool holds, string what)
    {
        if (!holds)
        {
            throw new InvariantException($"seed {Seed} at {Now.TotalSeconds:0.000} s: {what}");
        }
    }

    public void After(TimeSpan delay, Action action) => _events.Enqueue(action, (Now + delay, _sequence++));

    public void AfterMs(double least, double most, Action action) =>
        After(TimeSpan.FromMilliseconds(least + Random.NextDouble() * (most - least)), action);

    public void Run()
    {
        foreach (var link in Links)
        {
            Dial(link, 0);
            Dial(link, 1);
        }

        AfterMs(0, 100, OpenSome);
        AfterMs(50, 400, Fault);
        After(_heal, Heal);
        while (Now < _end && _events.TryDequeue(out var action, out var due))
        {
            Now = due.Item1;
            Steps++;
            action();
            if (Steps % 16 == 0)
            {
                A.CheckLimits();
                B.CheckLimits();
            }

            if (IsHealed && A.IsQuiet && B.IsQuiet)
            {
                break;
            }
        }

        A.CheckEnd();
        B.CheckEnd();
    }

    // ---- what applications do

    private void OpenSome()
    {
        for (var i = Random.Next(4); i >= 0; i--)
        {
            (Random.Next(2) == 0 ? A : B).OpenStream();
        }

        if (!IsHealed)
        {
            AfterMs(10, 400, OpenSome);
        }
    }

    // ---- what the network does

    private void Fault()
    {
        if (IsHealed)
        {
            return;
        }

        var link = Links[Random.Next(Links.Length)];
        var lane = _lanes.LastOrDefault(l => l.Link == link);
        var end = Random.Next(2) == 0 ? A : B;
        var kind = Random.Next(9);
        Note(100 + kind, Array.IndexOf(Links, link), end.Name[0]);
        switch (kind)
        {
            case 0 or 1:
                // A silent cut, one way or both; bytes wait. Some time later it may be whole again, or each end may notice.
                var ways = 1 + Random.Next(3);
                lane?.Stall(ways);
                _linkIsCut[link] = true;
                Notice(A, link);
                Notice(B, link);
                AfterMs(20, 3000, () =>
                {
                    _linkIsCut[link] = false;
                    lane?.Resume();
                });
                break;
            case 2:
                // Everything under way is lost, and nobody is told.
                lane?.Lose();
                Notice(A, link);
                Notice(B, link);
                break;
            case 3:
                lane?.Break(end);
                break;
            case 4 or 5:
                end.Prefer(link);
                break;
            case 6:
                end.Declare(link, down: true);
                AfterMs(10, 1500, () => end.Declare(link, down: false));
                break;
            case 7:
                end.Suspect(link);
                break;
            case 8:
                A.Prefer(link);
                B.Prefer(link);
                break;
        }

        AfterMs(20, 500, Fault);
    }

    /// <summary>An end's probing finds out, sooner or later, or not at all.</summary>
    private void Notice(SimEnd end, string link)
    {
        if (Random.Next(4) > 0)
        {
            AfterMs(10, 1000, () => end.Declare(link, down: true));
            AfterMs(1200, 2500, () => end.Declare(link, down: false));
        }
    }

    private void Heal()
    {
        Note(200);
        foreach (var link in Links)
        {
            _linkIsCut[link] = LosesSession;
            A.Declare(link, down: LosesSession);
            B.Declare(link, down: LosesSession);
        }

        foreach (var lane in _lanes.ToArray())
        {
            if (LosesSession)
            {
                lane.Lose();
            }
            else
            {
                lane.Resume();
            }
        }
    }

    /// <summary>A keeps a lane up over each link: dials when it has none.</summary>
    public void Redial(string link, int channel) => AfterMs(20, 300, () => Dial(link, channel));

    private void Dial(string link, int channel)
    {
        if (A.Lane(link, channel) is not null || A.IsLost)
        {
            return;
        }

        if (_linkIsCut[link])
        {
            Redial(link, channel);
            return;
        }

        _epoch += 2;
        var lane = new SimLane(this, _epoch - 1, link, channel);
        _lanes.Add(lane);
        lane.Connect();
    }

    public void Gone(SimLane lane) => _lanes.Remove(lane);
}
