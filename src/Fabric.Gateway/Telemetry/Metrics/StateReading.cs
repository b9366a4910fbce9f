using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Gateway.Probing;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>The state at one moment, for all instruments that are observed then.</summary>
internal sealed record Reading(Status Status, DaemonCounters Counters);

/// <summary>Counts that are the daemon's own and not part of <c>status</c>.</summary>
internal sealed record DaemonCounters
{
    public long AuditDropped { get; init; }
    public DnsStatistics Dns { get; init; }
    public DnsForwardStatistics Forwarding { get; init; }
    public ProberCounters Probes { get; init; }

    /// <summary>By shadow policy: at most 101 (<see cref="Egress.ShadowTally"/>).</summary>
    public IReadOnlyList<(string Policy, long Count)> Shadow { get; init; } = [];

    /// <summary>New connections that wait for a site.</summary>
    public int Held { get; init; }

    /// <summary>Since the state loop looked at everything, in seconds.</summary>
    public double StateAge { get; init; }

    /// <summary>Capacity that the topology declares, in bits a second, by link and peer; those without one are not here.</summary>
    public IReadOnlyList<(string Link, string Peer, long Bits)> Capacities { get; init; } = [];
}

/// <summary>
/// Reads the state for whoever collects metrics. Instruments are asked one by one: what was read for the first serves the others, for up to a second, or
/// until <see cref="Renew"/>.
/// </summary>
/// <param name="status">Null while there is none.</param>
internal sealed class StateReading(string version, Func<Status?> status, Func<DaemonCounters> counters, TimeProvider time)
{
    private static readonly TimeSpan _life = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private Reading? _reading;
    private long _read;

    public string Version => version;

    public Reading? Now
    {
        get
        {
            lock (_lock)
            {
                if (_reading is null || time.GetElapsedTime(_read) >= _life)
                {
                    _read = time.GetTimestamp();
                    _reading = status() is { } now ? new Reading(now, counters()) : null;
                }

                return _reading;
            }
        }
    }

    /// <summary>A new collection begins: what is read from now on is of now.</summary>
    public void Renew()
    {
        lock (_lock)
        {
            _reading = null;
        }
    }
}
