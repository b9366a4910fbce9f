using Fabric.Drills.Definition;

namespace Fabric.Drills.Measurement;

/// <summary>One thing that a probe load did. Instants are of the machine that runs the drill, UTC.</summary>
/// <param name="Probe">Name of the <see cref="ProbePlan"/>.</param>
/// <param name="Connection">Which of its connections, from 0; 0 where each probe is one of its own.</param>
/// <param name="Began">When it was sent; for bulk: when the read before ended.</param>
/// <param name="Ended">When its answer was there, or it was given up.</param>
/// <param name="Bytes">Of payload that arrived.</param>
/// <param name="Error">Empty: it went well.</param>
/// <param name="Dropped">The connection that carried it ended, and was not asked to: said once for each connection that ended.</param>
/// <param name="Lost">Bytes that were to come and never will.</param>
/// <param name="Wrong">What came is not what was sent.</param>
/// <param name="Again">More about something that was given up, such as an echo after its time: an arrival, and no attempt of its own.</param>
/// <param name="Unsent">It was due and could not be sent, since too many wait for their answers: failed, and it took no time.</param>
public readonly record struct ProbeSample(
    string Probe,
    int Connection,
    DateTimeOffset Began,
    DateTimeOffset Ended,
    long Bytes,
    string Error,
    bool Dropped,
    long Lost = 0,
    bool Wrong = false,
    bool Again = false,
    bool Unsent = false);

/// <summary>
/// A load that runs until it is cancelled, and says of everything that it did. It never throws for what the fabric does to it: that is
/// what it measures.
/// </summary>
public interface IProbeLoad
{
    ProbePlan Plan { get; }

    /// <param name="seen">Called from any thread, in order for each connection.</param>
    Task RunAsync(Action<ProbeSample> seen, CancellationToken cancellationToken);
}

/// <summary>What came of one probe load between two instants. Milliseconds.</summary>
/// <param name="LongestPauseMs">For live and bulk: the longest time between two arrivals on one connection; else the longest time without a success.</param>
/// <param name="PauseBegan">When the longest pause began.</param>
/// <param name="BytesLost">Of the hashed streams, and numbered messages that were never echoed though their connection lived.</param>
/// <param name="MedianMs">Of those that went well; for bulk: between two arrivals. Within 3 %; 0 when none did.</param>
/// <param name="P99Ms">As the median.</param>
/// <param name="HashesWrong">Streams or messages that arrived other than they were sent.</param>
/// <param name="Failures">Why they failed, the most frequent first; at most <see cref="ProbeCollector.MaxFailures"/> reasons.</param>
public sealed record ProbeFigures(
    string Probe,
    string Kind,
    string Service,
    long Attempts,
    long Failed,
    long ConnectionsDropped,
    double LongestPauseMs,
    DateTimeOffset? PauseBegan,
    double MedianMs,
    double P99Ms,
    long Bytes,
    long BytesLost,
    long HashesWrong,
    IReadOnlyList<ProbeFailure>? Failures = null);

/// <summary>How often a probe failed for one reason.</summary>
public sealed record ProbeFailure(string Error, long Count);
