using System.Collections.Immutable;
using Fabric.Identity.Svid;

namespace Fabric.Tunnel;

/// <summary>What the tunnel uses of its memory, and what it turned away since it was made.</summary>
/// <param name="MemoryLimit">The cap, bytes: <see cref="TunnelLimits.Memory"/>.</param>
/// <param name="MemoryUsed">Bytes of buffers in use.</param>
/// <param name="Retained">Bytes of applications that are kept until the peer has acknowledged them.</param>
/// <param name="Promised">Bytes of credit given to peers that applications have not taken yet.</param>
/// <param name="Handshakes">Handshakes under way with those who dialled this gateway.</param>
/// <param name="Refusals">How often something was turned away, by kind; every kind is there.</param>
public sealed record TunnelUsage(
    long MemoryLimit, long MemoryUsed, long Retained, long Promised, int Handshakes, ImmutableArray<RefusalCount> Refusals)
{
    public static TunnelUsage None { get; } = new(0, 0, 0, 0, 0, []);

    /// <summary>
    /// How often a certificate was refused here, of a peer, whichever side dialled, or of a caller, by the code of the reason; every code is there.
    /// </summary>
    public ImmutableArray<CertificateRefusalCount> Certificates { get; init; } = [];

    /// <summary>What moves the bytes: <c>portable</c> or <c>linux</c>.</summary>
    public string DriverName { get; init; } = "";

    /// <summary>How the driver is doing; null when it has nothing to tell.</summary>
    public DriverUsage? Driver { get; init; }
}

/// <summary>How an driver of event loops is doing.</summary>
/// <param name="Loops">Each of them.</param>
/// <param name="TlsSessions">TLS connections that are not freed.</param>
/// <param name="TlsBytes">Bytes of their buffers outside the managed heap.</param>
public sealed record DriverUsage(ImmutableArray<LoopUsage> Loops, long TlsSessions, long TlsBytes);

/// <summary>One event loop.</summary>
/// <param name="Name">Its thread's.</param>
/// <param name="Turns">Since the start.</param>
/// <param name="Busy">Time spent in turns since the start.</param>
/// <param name="LongestTurn">Since this was asked last.</param>
/// <param name="LongestQueue">Most items that were ready at once since this was asked last.</param>
/// <param name="Sockets">Descriptors that it watches.</param>
/// <param name="SystemCalls">Reads and writes of sockets since the start.</param>
/// <param name="Bytes">What they moved.</param>
public sealed record LoopUsage(
    string Name, long Turns, TimeSpan Busy, TimeSpan LongestTurn, int LongestQueue, int Sockets, long SystemCalls, long Bytes)
{
    /// <summary>How long ago it was asked for a sign of life that it has not given yet; zero when it gave it. It is asked every second.</summary>
    public TimeSpan Unanswered { get; init; }
}

public sealed record RefusalCount(Refusal Kind, long Count);

public sealed record CertificateRefusalCount(SvidRejection Rejection, long Count)
{
    /// <inheritdoc cref="SvidVerdict.CodeOf"/>
    public string Code => SvidVerdict.CodeOf(Rejection);
}

/// <summary>Why a connection, a lane or a stream was turned away.</summary>
public enum Refusal
{
    /// <summary>Too many handshakes under way: <see cref="TunnelLimits.MaxHandshakes"/>.</summary>
    HandshakeLimit,

    /// <summary>Too many from one address: <see cref="TunnelLimits.MaxHandshakesPerAddress"/>.</summary>
    HandshakeAddressLimit,

    /// <summary>Too many from one address in a second, finished or not.</summary>
    HandshakeRate,

    /// <summary>Too many of one gateway: <see cref="TunnelLimits.MaxHandshakesPerPeer"/>.</summary>
    HandshakePeerLimit,

    /// <summary>Not done within <see cref="TunnelLimits.HandshakeTimeout"/>.</summary>
    HandshakeTimeout,

    /// <summary>TLS failed, a certificate was refused (<see cref="TunnelUsage.Certificates"/>), or what came was no handshake of a lane.</summary>
    HandshakeFailed,

    /// <summary>A lane that is not planned, late, or one too many.</summary>
    LaneRefused,

    /// <summary>The gateway broke the protocol so often that it is not heard for a while.</summary>
    Penalty,

    /// <summary>A lane was closed because the peer broke the protocol.</summary>
    ProtocolError,

    /// <summary>A lane was closed because the peer sent too many frames.</summary>
    Flood,

    /// <summary>A lane was closed because the peer did not read.</summary>
    StalledLane,

    /// <summary>An OPEN was reset because of a limit, or a drain.</summary>
    OpenLimit,

    /// <summary>A stream was reset because memory was at the cap.</summary>
    Memory,

    /// <summary>TLS with a client of a service: too many under way, or too many from one address (<see cref="TunnelLimits.MaxHandshakes"/>).</summary>
    CallerHandshakeLimit,

    /// <summary>TLS with a client of a service was not done within <see cref="TunnelLimits.HandshakeTimeout"/>.</summary>
    CallerHandshakeTimeout,

    /// <summary>TLS with a client of a service failed, or its certificate was refused (<see cref="TunnelUsage.Certificates"/>).</summary>
    CallerHandshakeFailed,
}
