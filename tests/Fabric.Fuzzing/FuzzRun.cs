using System.Diagnostics;

namespace Fabric.Fuzzing;

/// <summary>An input that did harm.</summary>
/// <param name="Input">As it was.</param>
/// <param name="Harm">What it did.</param>
internal sealed record Finding(byte[] Input, string Harm);

/// <summary>
/// Gives a target one mutated input after the other, on one thread, and keeps one of each way that they go: the next mutations start from
/// these too. Harm is an exception, a broken rule, more than <see cref="Slow"/> for one input twice, or more than <see cref="MaxAllocation"/> of it.
/// </summary>
internal sealed class FuzzRun
{
    public static readonly TimeSpan Slow = TimeSpan.FromSeconds(1);

    /// <summary>Bytes that one input may have allocated: what is allocated goes with what came in.</summary>
    public const long MaxAllocation = 4 << 20;

    /// <summary>Ways of which an input is kept: of more, those that were found first stay.</summary>
    public const int MaxKept = 2048;

    /// <summary>Findings that are kept, and shown; of more only the number is known.</summary>
    private const int MaxFindings = 20;

    private readonly FuzzTarget _target;
    private readonly Random _random;
    private readonly List<byte[]> _inputs;
    private readonly Dictionary<ulong, byte[]> _kept = [];
    private readonly HashSet<string> _harms = [];
    private byte[]? _now;
    private long _since;

    public FuzzRun(FuzzTarget target, byte[][] corpus, int seed)
    {
        (_target, _random) = (target, new Random(seed));
        _inputs = [.. target.Seeds, .. corpus];
        foreach (var input in _inputs.ToArray())
        {
            Read(input);
        }
    }

    public long Done { get; private set; }

    public long Harmful { get; private set; }

    public List<Finding> Findings { get; } = [];

    /// <summary>One input for each way.</summary>
    public IReadOnlyCollection<byte[]> Kept => _kept.Values;

    /// <summary>The input that is being read for too long; null: none. For another thread: this one may never come back.</summary>
    public byte[]? Stuck(TimeSpan limit) => Volatile.Read(ref _now) is { } input && Stopwatch.GetElapsedTime(Volatile.Read(ref _since)) > limit ? input : null;

    public void Run(long inputs)
    {
        for (var i = 0L; i < inputs; i++)
        {
            Read(Mutator.Mutate(_random, _inputs));
        }
    }

    private void Read(byte[] input)
    {
        Done++;
        if (Measure(input) is { } harm)
        {
            Harmful++;
            // One of each kind.
            if (Findings.Count < MaxFindings && _harms.Add(harm.Split('\n')[0]))
            {
                Findings.Add(new Finding(input, harm));
            }
        }
    }

    private string? Measure(byte[] input)
    {
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        Volatile.Write(ref _since, Stopwatch.GetTimestamp());
        Volatile.Write(ref _now, input);
        try
        {
            Keep(_target.Read(input), input);
            if (Stopwatch.GetElapsedTime(_since) > Slow)
            {
                // Perhaps it had no core.
                Volatile.Write(ref _since, Stopwatch.GetTimestamp());
                _target.Read(input);
                if (Stopwatch.GetElapsedTime(_since) > Slow)
                {
                    return $"takes {Stopwatch.GetElapsedTime(_since).TotalSeconds:0.0} s";
                }
            }

            allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
            return allocated > MaxAllocation ? $"allocates {allocated} bytes" : null;
        }
        catch (Exception e)
        {
            return $"{e.GetType().Name}: {e.Message}\n{e.StackTrace}";
        }
        finally
        {
            Volatile.Write(ref _now, null);
        }
    }

    private void Keep(ulong way, byte[] input)
    {
        if (_kept.TryGetValue(way, out var before))
        {
            // The shortest says it best.
            if (input.Length < before.Length)
            {
                _kept[way] = input;
            }
        }
        else if (_kept.Count < MaxKept)
        {
            _kept.Add(way, input);
            _inputs.Add(input);
        }
    }
}
