using Fabric.Tunnel;

namespace Fabric.Simulation.Applications;

/// <summary>What one side of a call sends, and how.</summary>
/// <param name="Bytes">How many.</param>
/// <param name="Piece">At most so many at once.</param>
/// <param name="ReadPiece">Reads at most so many at once.</param>
/// <param name="PauseMs">Between two of its doings.</param>
/// <param name="ResetAt">Resets after so many bytes written; never when negative.</param>
internal readonly record struct SidePlan(int Bytes, int Piece, int ReadPiece, int PauseMs, int ResetAt)
{
    public static SidePlan Draw(Random random, bool orderly)
    {
        var bytes = random.Next(8) switch { 0 => 0, < 5 => random.Next(5_000), < 7 => random.Next(60_000), _ => random.Next(400_000) };
        return new SidePlan(
            bytes, 1 << (3 + random.Next(14)), 1 << (4 + random.Next(14)), random.Next(3) == 0 ? random.Next(30) : 0,
            !orderly && random.Next(14) == 0 ? random.Next(bytes + 1) : -1);
    }
}

/// <summary>How a call ended at one side.</summary>
internal enum Outcome
{
    /// <summary>It has not.</summary>
    Open,

    /// <summary>Both ways, every byte.</summary>
    Orderly,

    Reset,

    /// <summary>No route took it.</summary>
    Refused,

    /// <summary>The process died with it.</summary>
    Died,
}

/// <summary>One connection of an application to a service: two plans, and what became of them.</summary>
internal sealed class Call(int id, int site, string service, SidePlan client, SidePlan server)
{
    public int Id => id;

    /// <summary>Site of the caller.</summary>
    public int Site => site;

    public string Service => service;

    public SidePlan Client => client;

    public SidePlan Server => server;

    /// <summary>The caller resets at some moment, whatever happens.</summary>
    public bool GivesUp { get; init; }

    public bool Mirrored { get; init; }

    /// <summary>It is one of those that show that all is well: it must end in order.</summary>
    public bool MustWork { get; init; }

    public bool MustBeDenied { get; init; }

    public Outcome ClientOutcome { get; set; }

    public StreamCode Code { get; set; }

    /// <summary>Its importing side.</summary>
    public Import? Import { get; set; }

    /// <summary>The ends that accepted it, one for each route that was tried and accepted.</summary>
    public List<SimApp> Servers { get; } = [];

    /// <summary>The one of them that has seen anything of the caller.</summary>
    public SimApp? Owner { get; set; }

    public bool IsOver => ClientOutcome != Outcome.Open && Servers.TrueForAll(s => s.Outcome != Outcome.Open);

    public override string ToString() =>
        $"call {id} from site {site} to {service}: client {ClientOutcome} ({Code}), servers {string.Join("; ", Servers)}";
}

/// <summary>What calls carry: bytes that know their call, their direction and their place.</summary>
internal static class Content
{
    // A prime, and longer than any stream: no two places look alike.
    private static readonly byte[] Noise = Make(1_048_573);

    private static byte[] Make(int length)
    {
        var noise = new byte[length];
        new Random(1).NextBytes(noise);
        return noise;
    }

    private static int Start(Call call, bool toServer, int at) =>
        (int)(((long)call.Id * 40_503 + (toServer ? 524_287 : 0) + at) % Noise.Length);

    public static void Fill(Span<byte> bytes, Call call, bool toServer, int at)
    {
        var start = Start(call, toServer, at);
        var first = Math.Min(bytes.Length, Noise.Length - start);
        Noise.AsSpan(start, first).CopyTo(bytes);
        Noise.AsSpan(0, bytes.Length - first).CopyTo(bytes[first..]);
    }

    public static bool Matches(ReadOnlySpan<byte> bytes, Call call, bool toServer, int at)
    {
        var start = Start(call, toServer, at);
        var first = Math.Min(bytes.Length, Noise.Length - start);
        return Noise.AsSpan(start, first).SequenceEqual(bytes[..first])
            && Noise.AsSpan(0, bytes.Length - first).SequenceEqual(bytes[first..]);
    }
}
