namespace Fabric.Protocol.Dns;

/// <summary>RR types and QTYPEs (IANA DNS parameters). Any other value is legal on the wire and carried as it is (RFC
/// 3597).</summary>
public enum DnsType : ushort
{
    None = 0,
    A = 1,
    Ns = 2,
    Cname = 5,
    Soa = 6,
    Ptr = 12,
    Hinfo = 13,
    Mx = 15,
    Txt = 16,
    Aaaa = 28,
    Srv = 33,
    Opt = 41,
    Svcb = 64,
    Https = 65,
    Tkey = 249,
    Tsig = 250,
    Ixfr = 251,
    Axfr = 252,
    Any = 255,
}

/// <summary>Classes. In an OPT record the field carries the sender's UDP payload size instead (RFC 6891 §6.1.2).</summary>
public enum DnsClass : ushort
{
    Internet = 1,
    Chaos = 3,
    Hesiod = 4,
    None = 254,
    Any = 255,
}

public enum DnsOpcode : byte
{
    Query = 0,
    Status = 2,
    Notify = 4,
    Update = 5,
}

/// <summary>Response codes; those above 15 need an OPT record, which carries their upper 8 bits (RFC 6891 §6.1.3).</summary>
public enum DnsRcode : ushort
{
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVers = 16,

    /// <summary>The client's cookie is needed and was not there or not ours (RFC 7873 §5.2.3).</summary>
    BadCookie = 23,
}

/// <summary>Codes of EDNS options that this code reads or writes (IANA DNS EDNS0 Option Codes); all others are ignored.</summary>
public enum DnsOptionCode : ushort
{
    /// <summary>Name server identifier (RFC 5001).</summary>
    Nsid = 3,

    /// <summary>RFC 7873, RFC 9018.</summary>
    Cookie = 10,

    /// <summary>How long a connection may be idle (RFC 7828).</summary>
    KeepAlive = 11,

    /// <summary>RFC 7830.</summary>
    Padding = 12,

    /// <summary>RFC 8914.</summary>
    ExtendedError = 15,
}

/// <summary>INFO-CODEs of Extended DNS Errors (RFC 8914 §4).</summary>
public enum DnsExtendedError : ushort
{
    Other = 0,

    /// <summary>An answer whose time is over, for no newer one was to be had (RFC 8767).</summary>
    StaleAnswer = 3,

    /// <summary>The server is not, or no longer, in a state to answer.</summary>
    NotReady = 14,

    /// <summary>As <see cref="StaleAnswer"/>, of a name that did not exist.</summary>
    StaleNxDomain = 19,

    /// <summary>The name is in no zone of this server.</summary>
    NotAuthoritative = 20,
    NotSupported = 21,

    /// <summary>No server that knows the name answers.</summary>
    NoReachableAuthority = 22,

    /// <summary>A server that knows the name answered, and had an error.</summary>
    NetworkError = 23,
}

/// <summary>The bits of the header's second word that are neither opcode nor RCODE (RFC 1035 §4.1.1, RFC 4035 §3.1.6).</summary>
[Flags]
public enum DnsFlags : ushort
{
    None = 0,
    CheckingDisabled = 0x0010,
    AuthenticData = 0x0020,
    RecursionAvailable = 0x0080,
    RecursionDesired = 0x0100,
    Truncated = 0x0200,
    Authoritative = 0x0400,
    Response = 0x8000,
}

public static class DnsLimits
{
    /// <summary>Bytes of the header.</summary>
    public const int Header = 12;

    /// <summary>Bytes of a name in wire form, its root label included (RFC 1035 §2.3.4).</summary>
    public const int Name = 255;

    /// <summary>Bytes of a label, without its length octet.</summary>
    public const int Label = 63;

    /// <summary>Labels of a name, without the root.</summary>
    public const int Labels = 127;

    /// <summary>UDP payload that every client takes, EDNS or not.</summary>
    public const int ClassicUdp = 512;

    /// <summary>UDP payload that passes unfragmented on any IPv6 path: what this server offers and sends at most.</summary>
    public const int Udp = 1232;

    /// <summary>A message over TCP, without its two length octets (RFC 7766).</summary>
    public const int Tcp = 65535;

    /// <summary>Bytes of an OPT record without options.</summary>
    public const int Opt = 11;
}
