using System.Collections.Immutable;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>Totals since the server was made.</summary>
/// <param name="UdpQueries">Datagrams received, whatever is in them.</param>
/// <param name="TcpQueries">Messages received over TCP, those in TLS among them.</param>
/// <param name="ByRcode">Answers by their RCODE: index 3 is NXDOMAIN, the last one BADCOOKIE.</param>
/// <param name="Truncated">Answers with TC.</param>
/// <param name="Dropped">Messages not answered: too short, or themselves responses, or over the limit of
/// responses, or their asker was unreachable.</param>
/// <param name="Faults">Queries answered SERVFAIL because of an exception here, and receive errors.</param>
/// <param name="TcpConnections">Open now.</param>
/// <param name="TcpRefused">Connections closed at once, for a limit was reached.</param>
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
    public const int Rcodes = (int)DnsRcode.BadCookie + 1;

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

    /// <summary>The sum of all.</summary>
    public static DnsStatistics Read(IReadOnlyCollection<DnsCounters> all, int connections)
    {
        long Sum(Func<DnsCounters, long> of) => all.Sum(of);
        return new DnsStatistics(
            Sum(c => Volatile.Read(ref c._udp)), Sum(c => Volatile.Read(ref c._tcp)),
            [.. Enumerable.Range(0, Rcodes).Select(r => Sum(c => Volatile.Read(ref c._byRcode[r])))],
            Sum(c => Volatile.Read(ref c._truncated)), Sum(c => Volatile.Read(ref c._dropped)), Sum(c => Volatile.Read(ref c._faults)),
            connections, Sum(c => Volatile.Read(ref c._refused)), Sum(c => Volatile.Read(ref c._idled)));
    }
}
