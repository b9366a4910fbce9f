namespace Fabric.Fuzzing;

/// <summary>Every input that is kept does no harm, and the program finds harm where there is some.</summary>
public sealed class CorpusTests
{
    private const int Mutations = 50_000;

    public static IEnumerable<object[]> Names => Targets.All.Select(t => new object[] { t.Name });

    [Theory]
    [MemberData(nameof(Names))]
    public void What_is_kept_and_mutations_of_it_do_no_harm(string name)
    {
        var target = Targets.All.Single(t => t.Name == name);
        var corpus = Corpus.Read(Corpus.Folder, name);
        Assert.True(corpus.Length >= 10, $"{corpus.Length} inputs are kept");
        var run = new FuzzRun(target, corpus, seed: 1);
        // Multicast DNS has no other test of that kind.
        run.Run(name == "mdns" ? 4 * Mutations : Mutations);
        Assert.True(run.Harmful == 0, string.Join("\n", run.Findings.Select(f => $"{Convert.ToHexStringLower(f.Input)}\n{f.Harm}")));
        // It goes most of the ways that the corpus shows: more than seeds and some mutations find.
        Assert.True(run.Kept.Count >= corpus.Length / 2, $"{run.Kept.Count} ways of {corpus.Length}");
    }

    [Fact]
    public void Harm_is_found_and_told_once_for_each_kind()
    {
        var run = new FuzzRun(new Harmed(), [], seed: 1);
        run.Run(20_000);
        Assert.Contains(run.Findings, f => f.Harm.StartsWith("IndexOutOfRangeException", StringComparison.Ordinal));
        Assert.Contains(run.Findings, f => f.Harm.StartsWith("BrokenRuleException: no second byte is 7", StringComparison.Ordinal));
        Assert.Contains(run.Findings, f => f.Harm.StartsWith("allocates ", StringComparison.Ordinal));
        Assert.True(run.Harmful > run.Findings.Count);
        Assert.InRange(run.Kept.Count, 2, 300);
    }

    [Fact]
    public async Task What_does_not_come_back_is_seen_from_outside()
    {
        using var gate = new ManualResetEventSlim();
        var run = new FuzzRun(new Held(gate), [], seed: 1);
        var running = Task.Run(() => run.Run(1));
        byte[]? stuck = null;
        await Testing.Wait.UntilAsync(() => (stuck = run.Stuck(TimeSpan.FromMilliseconds(50))) is not null, () => "nothing is stuck");
        gate.Set();
        await running;
        Assert.NotNull(stuck);
        Assert.Null(run.Stuck(TimeSpan.Zero));
    }

    private sealed class Harmed : FuzzTarget
    {
        public override string Name => "harmed";

        public override byte[][] Seeds => [[1, 2, 3]];

        public override ulong Read(byte[] input)
        {
            var first = input.Length == 0 ? 0 : input[0];
            if (first == 200)
            {
                GC.KeepAlive(new byte[FuzzRun.MaxAllocation + 1]);
            }

            // One that is short has no second byte: that is the harm.
            Must(input[1] != 7, "no second byte is 7");
            return Way(first);
        }
    }

    private sealed class Held(ManualResetEventSlim gate) : FuzzTarget
    {
        private int _reads;

        public override string Name => "held";

        public override byte[][] Seeds => [[1]];

        public override ulong Read(byte[] input)
        {
            if (_reads++ == 1)
            {
                gate.Wait();
            }

            return 0;
        }
    }
}
