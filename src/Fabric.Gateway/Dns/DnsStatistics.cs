using System.Collections.Immutable;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>Totals since the server was made.</summary>
/// <param name="UdpQueries">Datagrams received, whatever is in them.</param>
/// <param name="TcpQueries">Messages received over TCP.</param>
/// <param name="ByRcode">Answers by the lower 4 bits of their RCODE: index 3 is NXDOMAIN. BADVERS (16) is the last, index
/// 16.</param>
/// <param name="Truncated">Answers with TC.</param>
/// <param name="Dropped">Messages not answered: too short, or themselves responses, or their asker was unreachable.</param>
/// <param name="Faults">Queries answered SERVFAIL because of an exception here, and receive errors.</param>
/// <param name="TcpConnections">Open now.</param>
/// <param name="TcpRefused">Connections closed at once, for the limit was reached.</param>
/// <param name="TcpIdled">Connections closed because no query came in time.</param>
public readonly record struct DnsStatistics(
    long UdpQueries, long TcpQueries, ImmutableArray<long> ByRcode, long Truncated, long Dropped, long Faults, int TcpConnections,
    long TcpRefused, long TcpIdled)
{
    public long Answers(DnsRcode rcode) => ByRcode[Math.Min((int)rcode, DnsCounters.Rcodes - 1)];
}

/// <summary>The same, while it is being counted: by any thread, without locks.</summary>
internal sealed class DnsCounters
{
    public const int Rcodes = 17;

    private readonly long[] _byRcode = new long[Rcodes];
    private long _udp;
    private long _tcp;
    private long _truncated;
    private long _dropped;
    private long _faults;
    private long _refused;
    private long _idled;

    public void Received(DnsTransport transport) =>
        Interlocked.Increment(ref transport == DnsTransport.Udp ? ref _udp : ref _tcp);

    public void Answered(DnsRcode rcode, bool truncated)
    {
        Interlocked.Increment(ref _byRcode[Math.Min((int)rcode, Rcodes - 1)]);
        if (truncated)
        {
            Interlocked.Increment(ref _truncated);
        }
    }

    public void Dropped() => Interlocked.Increment(ref _dropped);

    public void Fault() => Interlocked.Increment(ref _faults);

    public void Refused() => Interlocked.Increment(ref _refused);

    public void Idled() => Interlocked.Increment(ref _idled);

    public DnsStatistics Read(int connections) => new(
        Volatile.Read(ref _udp), Volatile.Read(ref _tcp), [.. _byRcode], Volatile.Read(ref _truncated),
        Volatile.Read(ref _dropped), Volatile.Read(ref _faults), connections, Volatile.Read(ref _refused),
        Volatile.Read(ref _idled));
}
