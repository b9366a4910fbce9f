using System.Collections.Immutable;
using System.Net;
using Fabric.Routing.Health;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Probing;

/// <summary>One link to one peer that is probed.</summary>
/// <param name="Local">Listen address to send from; null: the first whose address family fits.</param>
/// <param name="Remote">Where the peer receives probes; null when it cannot be dialled: learned from its own probes.</param>
/// <param name="Mtu">
/// Largest IP packet that the link must carry, bytes: that of the network for an interconnect, that of the tunnel interface for a vpn.
/// </param>
public sealed record ProbeTarget(string Peer, string Link, IPAddress? Local, IPEndPoint? Remote, int Mtu)
{
    /// <summary>Bit rate that the topology declares; null: none. Nothing is probed for it: it is told with what was (<see cref="ProberOptions.Measured"/>).</summary>
    public long? Capacity { get; init; }
}

/// <summary>A fault injected on a link, as by <c>fabric drill</c>.</summary>
/// <param name="DropIn">What the peer sends is not seen.</param>
/// <param name="DropOut">What is sent does not leave.</param>
/// <param name="Refused">And that is noticed at once, as where there is no route.</param>
public readonly record struct ProbeFault(bool DropIn, bool DropOut, bool Refused = false);

/// <summary>What the prober is made with; none of it changes while it runs.</summary>
public sealed record ProberOptions
{
    /// <summary>This gateway's name.</summary>
    public required string Gateway { get; init; }

    /// <summary>Where probes are received and sent from; port 7443 by default. Port 0 takes any (see <c>Prober.Bound</c>).</summary>
    public required ImmutableArray<IPEndPoint> Listen { get; init; }

    /// <summary>Intervals, misses and hold-down, as the topology has them.</summary>
    public ProbeSettings Settings { get; init; } = new();

    /// <summary>The other figures of the verdict. What <see cref="Settings"/> says, and each target's MTU, go before it.</summary>
    public LinkHealthOptions Health { get; init; } = new();

    /// <summary>Drill seam, asked for every packet by peer and link, on the prober's thread. Must not block.</summary>
    public Func<string, string, ProbeFault>? Fault { get; init; }

    /// <summary>
    /// Asked before a link is called down, by peer and link: how long ago bytes left on a lane over it that have arrived since; null when
    /// none is known. The flag asks for bulk alone, whose packets are of full size. On the prober's thread; must not block.
    /// </summary>
    public Func<string, string, bool, TimeSpan?>? Carried { get; init; }

    /// <summary>Asked with it, by peer and link: how long ago anything came on a lane over the link; null when that is not known.</summary>
    public Func<string, string, TimeSpan?>? Heard { get; init; }

    /// <summary>Told of each answer that was read in time, by peer and link: the round trip of that one probe. On the prober's thread; must not block.</summary>
    public Action<string, string, TimeSpan>? Answered { get; init; }

    /// <summary>Told of each window of a link's probes when it has ended, about every 10 s. On the prober's thread; must not block.</summary>
    public Action<ProbeTarget, ProbeWindow>? Measured { get; init; }

    /// <summary>Seeds the jitter of intervals. Default: random.</summary>
    public int? Seed { get; init; }
}

/// <summary>What is observed of one probed link; a copy.</summary>
/// <param name="Since">When the state last changed.</param>
/// <param name="Mtu">Largest IP packet that is known to pass, bytes; 0 when unknown.</param>
/// <param name="Active">Whether it is probed at the active interval because it carries streams.</param>
/// <param name="Remote">Where probes go; null while it is not known.</param>
public sealed record LinkHealthSnapshot(
    string Peer,
    string Link,
    LinkReport Health,
    DateTimeOffset Since,
    int Mtu,
    bool Active,
    IPEndPoint? Remote)
{
    public LinkState State => Health.State;
}

/// <summary>What became of packets since the start.</summary>
/// <param name="Malformed">Dropped: not a probe, or of another version.</param>
/// <param name="Unknown">Dropped: of a link that is not probed here, or whose keys are not known yet.</param>
/// <param name="Forged">Dropped: the signature is wrong.</param>
/// <param name="Replayed">Dropped: a request older than one seen, or an answer that nobody awaits.</param>
/// <param name="Unsent">The kernel refused to send it.</param>
public readonly record struct ProberCounters(
    long Sent,
    long Answered,
    long Replied,
    long Malformed,
    long Unknown,
    long Forged,
    long Replayed,
    long Unsent);
