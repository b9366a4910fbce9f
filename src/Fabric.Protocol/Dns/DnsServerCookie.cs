using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Fabric.Protocol.Dns;

/// <summary>
/// Server cookies as all implementations make them (RFC 9018 §4): 8 bytes of the client, then version 1, three zeros, the time and
/// SipHash-2-4 over all of that and the client's address.
/// </summary>
public static class DnsServerCookie
{
    /// <summary>Bytes of a client cookie.</summary>
    public const int Client = 8;

    /// <summary>Bytes of both cookies together: what the option holds.</summary>
    public const int Length = 24;

    /// <summary>Bytes of a secret.</summary>
    public const int Secret = 16;

    // How far a time may lie back or ahead, in seconds (RFC 9018 §4.3).
    private const int MaxAge = 3600;
    private const int MaxAhead = 300;
    private const int Hashed = 16;

    /// <summary>Writes <see cref="Length"/> bytes.</summary>
    /// <param name="cookie">Where to.</param>
    /// <param name="client">The client's cookie; more than 8 bytes are ignored.</param>
    /// <param name="now">Unix time in seconds, modulo 2^32.</param>
    /// <param name="address">The client's address, 4 or 16 bytes.</param>
    /// <param name="secret">16 bytes.</param>
    public static void Write(
        Span<byte> cookie, ReadOnlySpan<byte> client, uint now, ReadOnlySpan<byte> address, ReadOnlySpan<byte> secret)
    {
        client[..Client].CopyTo(cookie);
        BinaryPrimitives.WriteUInt32BigEndian(cookie[8..], 0x01000000);
        BinaryPrimitives.WriteUInt32BigEndian(cookie[12..], now);
        BinaryPrimitives.WriteUInt64LittleEndian(cookie[Hashed..], Hash(cookie[..Hashed], address, secret));
    }

    /// <summary>Whether it was made with that secret, for that address, within the last hour (5 minutes ahead are allowed).</summary>
    public static bool IsValid(ReadOnlySpan<byte> cookie, uint now, ReadOnlySpan<byte> address, ReadOnlySpan<byte> secret)
    {
        if (cookie.Length != Length || cookie[8] != 1)
        {
            return false;
        }

        // Serial number arithmetic: the difference is what counts (RFC 1982).
        var age = (int)(now - BinaryPrimitives.ReadUInt32BigEndian(cookie[12..]));
        Span<byte> expected = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(expected, Hash(cookie[..Hashed], address, secret));
        return age is <= MaxAge and >= -MaxAhead && CryptographicOperations.FixedTimeEquals(expected, cookie[Hashed..]);
    }

    private static ulong Hash(ReadOnlySpan<byte> head, ReadOnlySpan<byte> address, ReadOnlySpan<byte> secret)
    {
        Span<byte> input = stackalloc byte[Hashed + 16];
        head.CopyTo(input);
        address.CopyTo(input[Hashed..]);
        return SipHash.Hash(secret, input[..(Hashed + address.Length)]);
    }
}
