using System.Collections.Immutable;
using System.Net;
using System.Net.Security;
using Fabric.Gateway.Dns.Forwarding;

namespace Fabric.Gateway.Dns;

public sealed record DnsServerOptions
{
    /// <summary>Where to listen, UDP and TCP; port 0 takes a free one, the same for both. Default 127.0.0.1:53. On other systems than
    /// Linux name addresses rather than a wildcard on a host with several: an answer over UDP leaves from the address that the route
    /// prefers.</summary>
    public ImmutableArray<IPEndPoint> Listen { get; init; } = [new(IPAddress.Loopback, 53)];

    /// <summary>Where to listen for DNS over TLS (RFC 7858); port 0 takes a free one. Default: nowhere.</summary>
    public ImmutableArray<IPEndPoint> ListenTls { get; init; } = [];

    /// <summary>What is shown over TLS, asked for each connection; required with <see cref="ListenTls"/>.</summary>
    public Func<SslStreamCertificateContext>? Certificate { get; init; }

    /// <summary>Threads that receive datagrams, per endpoint; on Linux each has a socket of its own. Default: one for each processor,
    /// at most 4; 1 to 64.</summary>
    public int UdpThreads { get; init; } = Math.Clamp(Environment.ProcessorCount, 1, 4);

    /// <summary>Connections open at once, over all endpoints; one more is closed as soon as accepted. Default 128; 1 to
    /// 65,535.</summary>
    public int TcpConnections { get; init; } = 128;

    /// <summary>Connections of one address, likewise (RFC 9210 §4.4). Default 32; 1 to 65,535.</summary>
    public int TcpPerSource { get; init; } = 32;

    /// <summary>A connection that completes no query for this long is closed, as is one that does not take its answers.
    /// Default 10 s (RFC 7766 §6.2.3 asks for a few seconds).</summary>
    public TimeSpan TcpIdle { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Queries of one connection that others are being asked for, at once; with one more the connection is read on when one of them
    /// has ended. Default 32; 1 to 1,000.</summary>
    public int TcpInFlight { get; init; } = 32;

    /// <summary>The same answer over UDP to the same /24 or /56, each second; of those above, every second one is short and asks to come
    /// again over TCP, or with a cookie, and the others are dropped. Loopback, and who shows a cookie of ours, is not limited.
    /// Default 1,000; 0: no limit; at most 50,000.</summary>
    public int ResponsesPerSecond { get; init; } = 1000;

    /// <summary>Told to who asks for it (NSID, RFC 5001). Default: empty, which is not told.</summary>
    public string Identifier { get; init; } = "";

    /// <summary>Who answers for names outside the zones. It is not disposed with the server. Default: nobody, they are REFUSED.</summary>
    public IDnsForwarder? Forwarder { get; init; }

    /// <summary>Told how long a batch of datagrams took, from when it was read until what could be answered at once was sent: for one query in
    /// <see cref="DnsTiming.OneIn"/>, on the thread that answered it, which waits for it. Default: nobody.</summary>
    public Action<TimeSpan>? Answered { get; init; }

    /// <summary>Plain sockets on Linux too, as elsewhere: for tests.</summary>
    internal bool Portable { get; init; }

    internal void Check()
    {
        Within(UdpThreads, 1, 64, nameof(UdpThreads));
        Within(TcpConnections, 1, 65535, nameof(TcpConnections));
        Within(TcpPerSource, 1, 65535, nameof(TcpPerSource));
        Within(TcpInFlight, 1, 1000, nameof(TcpInFlight));
        Within(ResponsesPerSecond, 0, 50_000, nameof(ResponsesPerSecond));
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(TcpIdle, TimeSpan.Zero, nameof(TcpIdle));
        if (!ListenTls.IsEmpty && Certificate is null)
        {
            throw new ArgumentException("DNS over TLS needs a certificate", nameof(Certificate));
        }
    }

    private static void Within(int value, int least, int most, string name)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(value, least, name);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(value, most, name);
    }
}
