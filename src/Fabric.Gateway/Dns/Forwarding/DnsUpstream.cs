using System.Net;
using System.Security.Cryptography;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>What is known of an upstream server now.</summary>
/// <param name="Server">Where it is.</param>
/// <param name="State"><c>unused</c>, <c>up</c>, <c>down</c> or <c>loop</c>.</param>
/// <param name="RoundTrip">Smoothed; null while it has never answered.</param>
/// <param name="Queries">Sent to it, probes among them.</param>
/// <param name="Failures">Queries that it did not answer in time, or not usefully.</param>
/// <param name="Problem">The last failure's, while it lasts.</param>
public sealed record DnsUpstreamStatus(
    IPEndPoint Server, string State, TimeSpan? RoundTrip, long Queries, long Failures, string Problem);

/// <summary>
/// One server that is asked, and how it does. Three failures in a row, without an answer between, make it down: then it is asked only when
/// nothing else is left, and probed until it answers. Safe for concurrent use.
/// </summary>
internal sealed class DnsUpstream(IPEndPoint server, TimeProvider time)
{
    private const int DownAfter = 3;
    private const double Gain = 0.25;
    private const double Decay = 0.98;
    private static readonly TimeSpan _firstPatience = TimeSpan.FromMilliseconds(400);
    private static readonly TimeSpan _leastPatience = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan _firstProbe = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan _lastProbe = TimeSpan.FromSeconds(8);
    private static readonly TimeSpan _loopInterval = TimeSpan.FromSeconds(60);

    private readonly Lock _lock = new();
    private double? _roundTripMs;
    private int _failedInRow;
    private bool _used;
    private bool _looped;
    private string _problem = "";
    private long _queries;
    private long _failures;
    private long _probeDue;
    private TimeSpan _probeInterval = _firstProbe;
    private DnsName? _probe;
    private DnsName? _tookBack;

    public IPEndPoint Server { get; } = server;

    public bool IsDown => Volatile.Read(ref _failedInRow) >= DownAfter;

    /// <summary>Questions that it is asked come back to us.</summary>
    public bool Loops => Volatile.Read(ref _looped);

    /// <summary>For the order: the quickest first, and before all who was never asked.</summary>
    public double Score
    {
        get
        {
            lock (_lock)
            {
                return _roundTripMs ?? 0;
            }
        }
    }

    /// <summary>How long it is waited for before the next one is asked as well.</summary>
    public TimeSpan Patience
    {
        get
        {
            lock (_lock)
            {
                var patience = _roundTripMs is { } ms ? TimeSpan.FromMilliseconds(3 * ms + 50) : _firstPatience;
                return patience < _leastPatience ? _leastPatience : patience > _firstPatience ? _firstPatience : patience;
            }
        }
    }

    public DnsUpstreamStatus Status
    {
        get
        {
            lock (_lock)
            {
                var state = _looped ? "loop" : IsDown ? "down" : _used ? "up" : "unused";
                return new DnsUpstreamStatus(
                    Server, state, _roundTripMs is { } ms ? TimeSpan.FromMilliseconds(ms) : null, _queries, _failures,
                    _looped ? "questions that it is asked come back to this gateway" : _problem);
            }
        }
    }

    public void Asked()
    {
        lock (_lock)
        {
            _used = true;
            _queries++;
        }
    }

    public void Answered(TimeSpan roundTrip)
    {
        lock (_lock)
        {
            var ms = roundTrip.TotalMilliseconds;
            // After a failure the old figure is a penalty, and no measurement.
            _roundTripMs = _roundTripMs is { } before && _failedInRow == 0 ? before + Gain * (ms - before) : ms;
            (_failedInRow, _problem, _probeInterval) = (0, "", _firstProbe);
        }
    }

    public void Failed(string problem)
    {
        lock (_lock)
        {
            _failures++;
            _failedInRow++;
            _problem = problem;
            _roundTripMs = Math.Min(2 * Math.Max(_roundTripMs ?? 0, 50), 5000);
            if (_failedInRow == DownAfter)
            {
                _probeDue = time.GetTimestamp();
            }
        }
    }

    /// <summary>Another one was asked instead: in time this one is tried again, for it may have become quicker.</summary>
    public void Passed()
    {
        lock (_lock)
        {
            _roundTripMs *= Decay;
        }
    }

    /// <summary>
    /// The name to probe it with, when a probe is due: at once after its first use and each minute, to find out whether it leads back to us;
    /// once it is down at once, after 1 s, and less and less often, at last each 8 s. A name of <c>test.</c>, which belongs to nobody (RFC 6761 §6.2).
    /// </summary>
    public DnsName? TakeProbe()
    {
        lock (_lock)
        {
            var now = time.GetTimestamp();
            if (!_used || _probe is not null && now < _probeDue)
            {
                return null;
            }

            if (IsDown)
            {
                _probeInterval = _probeInterval * 2 > _lastProbe ? _lastProbe : _probeInterval * 2;
            }

            var next = IsDown ? _probeInterval : _loopInterval;
            _probeDue = now + (long)(next.TotalSeconds * time.TimestampFrequency);
            return _probe = DnsName.Parse($"{DnsLoopProbe.Prefix}{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}.test");
        }
    }

    /// <summary>A probe of ours has come to us.</summary>
    public bool TookBack(ReadOnlySpan<byte> name)
    {
        lock (_lock)
        {
            if (_probe is null || !DnsNameComparer.Equal(name, _probe.Wire))
            {
                return false;
            }

            _tookBack = _probe;
            return _looped = true;
        }
    }

    /// <summary>That probe was answered. If it did not come to us before, there is no loop, or none any more.</summary>
    public void Probed(DnsName probe)
    {
        lock (_lock)
        {
            _looped &= probe.Equals(_tookBack);
        }
    }
}

/// <summary>Names by which a loop is found.</summary>
internal static class DnsLoopProbe
{
    public const string Prefix = "fabric-loop-";

    public static bool Is(ReadOnlySpan<byte> name) =>
        name[0] == 28 && name.Length == 35 && DnsNameComparer.Equal(name.Slice(1, Prefix.Length), "fabric-loop-"u8);
}
