using System.Security.Cryptography;
using System.Text;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

public enum DnsTransport
{
    Udp,
    Tcp,

    /// <summary>DNS over TLS (RFC 7858).</summary>
    Tls,
}

/// <summary>Who asks, and how.</summary>
public readonly ref struct DnsAsker
{
    /// <param name="transport">How the query came.</param>
    /// <param name="address">The asker's address: 4 or 16 bytes; empty when nobody needs it.</param>
    /// <param name="guard">Cookies and limits; null: none of them.</param>
    public DnsAsker(DnsTransport transport, ReadOnlySpan<byte> address = default, DnsGuard? guard = null)
    {
        Transport = transport;
        Address = Unmapped(address);
        Guard = guard;
    }

    public DnsTransport Transport { get; }

    public ReadOnlySpan<byte> Address { get; }

    public DnsGuard? Guard { get; }

    /// <summary>How long his connection may be idle: told to who asks for it over TCP and TLS (RFC 7828).</summary>
    public TimeSpan KeepAlive { get; init; }

    /// <summary>Who answers for names outside the zones; null: they are REFUSED.</summary>
    public IDnsForwarder? Forwarder { get; init; }

    /// <summary>An IPv4 address that an IPv6 socket tells is one of IPv4 (RFC 4291 §2.5.5.2).</summary>
    private static ReadOnlySpan<byte> Unmapped(ReadOnlySpan<byte> address) =>
        address.Length == 16 && address[..12].SequenceEqual(Mapped) ? address[12..] : address;

    private static ReadOnlySpan<byte> Mapped => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];
}

internal enum DnsCookieState
{
    None,

    /// <summary>The client has sent one of its own, and none of ours that is valid.</summary>
    Client,

    /// <summary>We gave it to that address within the last hour: the address is not forged.</summary>
    Valid,
}

/// <summary>
/// What keeps forged askers from using this server against others: cookies tell a true address (RFC 7873, RFC 9018), and answers to
/// all others are limited. Also the server's identifier (RFC 5001). Safe for concurrent use; allocates nothing per query, but at the
/// roll of the secret once a day.
/// </summary>
public sealed class DnsGuard
{
    private const uint Day = 86400;
    private const uint Hour = 3600;

    private readonly TimeProvider _time;
    private readonly DnsRateLimiter? _limiter;
    private Secrets _secrets;

    /// <param name="identifier">For NSID; empty: not told.</param>
    /// <param name="responsesPerSecond">See <see cref="DnsServerOptions.ResponsesPerSecond"/>; 0: not limited.</param>
    /// <param name="time">For cookies and limits.</param>
    public DnsGuard(string identifier, int responsesPerSecond, TimeProvider time)
    {
        (_time, Nsid) = (time, Encoding.ASCII.GetBytes(identifier));
        _limiter = responsesPerSecond == 0 ? null : new DnsRateLimiter(responsesPerSecond);
        _secrets = new Secrets(RandomNumberGenerator.GetBytes(DnsServerCookie.Secret), null, Now);
    }

    internal byte[] Nsid { get; }

    // Modulo 2^32, as in cookies.
    private uint Now => (uint)_time.GetUtcNow().ToUnixTimeSeconds();

    internal DnsCookieState Check(ReadOnlySpan<byte> cookie, ReadOnlySpan<byte> address)
    {
        if (cookie.IsEmpty)
        {
            return DnsCookieState.None;
        }

        var now = Now;
        var secrets = Current(now);
        return DnsServerCookie.IsValid(cookie, now, address, secrets.Secret)
            || secrets.Before is { } before && now - secrets.Since <= Hour && DnsServerCookie.IsValid(cookie, now, address, before)
            ? DnsCookieState.Valid
            : DnsCookieState.Client;
    }

    /// <summary>A fresh cookie for that client.</summary>
    internal void WriteCookie(Span<byte> cookie, ReadOnlySpan<byte> client, ReadOnlySpan<byte> address)
    {
        var now = Now;
        DnsServerCookie.Write(cookie, client, now, address, Current(now).Secret);
    }

    /// <summary>Counts an answer over UDP to an address that may be forged.</summary>
    internal DnsLimit Count(ReadOnlySpan<byte> address, DnsRcode rcode, ReadOnlySpan<byte> name) =>
        _limiter?.Count(address, rcode, name, _time.GetTimestamp() / _time.TimestampFrequency) ?? DnsLimit.Pass;

    /// <summary>The secret lives a day; the one before is taken for an hour more, as long as a cookie of its lives.</summary>
    private Secrets Current(uint now)
    {
        var secrets = Volatile.Read(ref _secrets);
        if (now - secrets.Since is < Day or > uint.MaxValue - Hour)
        {
            return secrets;
        }

        var next = new Secrets(RandomNumberGenerator.GetBytes(DnsServerCookie.Secret), secrets.Secret, now);
        var found = Interlocked.CompareExchange(ref _secrets, next, secrets);
        return ReferenceEquals(found, secrets) ? next : found;
    }

    private sealed record Secrets(byte[] Secret, byte[]? Before, uint Since);
}
