using System.Collections.Immutable;

namespace Fabric.Topology.Model;

/// <summary>Protocols that are negotiated by TLS over TCP, by the names of IANA's registry (TLS ALPN Protocol IDs).</summary>
public static class TlsProtocols
{
    /// <summary>HTTP's: what HTTPS records speak of (RFC 9460 §9). HTTP/3 is not among them, which is over UDP.</summary>
    public static ImmutableArray<string> Http { get; } = ["http/1.1", "h2"];

    /// <summary>All that a port of a service may name.</summary>
    public static ImmutableArray<string> All { get; } =
    [
        .. Http, "dot", "ftp", "imap", "irc", "managesieve", "mqtt", "nntp", "pop3", "postgresql", "sip/2", "tds/8.0", "xmpp-client", "xmpp-server",
    ];
}
