using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Fabric.Protocol.Probes;

public enum ProbeKind : byte
{
    Request = 1,
    Reply = 2,
}

/// <param name="FullSize">Padded to the MTU of the link; its reply has the same length.</param>
/// <param name="LinkId">See <see cref="ProbeCodec.LinkId"/>.</param>
/// <param name="Sequence">Of the request; a reply repeats it.</param>
/// <param name="Timestamp">The asking gateway's own clock; a reply repeats it, so that a capture shows the round trip.</param>
/// <param name="Received">In a reply: how many probes of this link the answering gateway has received. 0 in a request.</param>
public readonly record struct ProbePacket(
    ProbeKind Kind,
    bool FullSize,
    ulong LinkId,
    ulong Sequence,
    long Timestamp,
    ulong Received);

/// <summary>
/// Link probes over UDP, big-endian:
/// <code>
///  0  u8   version, 1          8  u64  link id          32  u64  received (reply)
///  1  u8   kind               16  u64  sequence         40  …    padding, zeros
///  2  u8   flags: 1 full-size 24  i64  timestamp        −16 16   HMAC-SHA256, truncated, over all before it
///  3  5    zeros
/// </code>
/// BFD (RFC 5880) is not spoken: its packets carry no padding to test an MTU with and its common authentication is none or SHA-1.
/// STAMP (RFC 8762) is the closest standard; its HMAC key is provisioned by hand, and it names no link.
/// </summary>
public static class ProbeCodec
{
    public const byte Version = 1;

    /// <summary>Bytes of the smallest probe.</summary>
    public const int MinLength = HeaderLength + MacLength;

    /// <summary>Bytes of the largest probe: an MTU of 9,216 less IPv4 and UDP headers.</summary>
    public const int MaxLength = 9216 - 28;

    private const int HeaderLength = 40;
    private const int MacLength = 16;

    /// <summary>UDP payload that makes an IP packet as large as the MTU.</summary>
    public static int FullSizeLength(int mtu, bool ipv6) =>
        Math.Clamp(mtu - (ipv6 ? 40 : 20) - 8, MinLength, MaxLength);

    /// <summary>The same number at both ends: the first 8 bytes of SHA-256 over the link's name and both gateways', sorted.</summary>
    public static ulong LinkId(string link, string gateway, string otherGateway)
    {
        var (a, b) = string.CompareOrdinal(gateway, otherGateway) <= 0 ? (gateway, otherGateway) : (otherGateway, gateway);
        return BinaryPrimitives.ReadUInt64BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{link}\0{a}\0{b}")));
    }

    /// <summary>Writes and signs a probe of exactly <paramref name="destination"/>'s length.</summary>
    public static void Write(Span<byte> destination, in ProbePacket packet, ProbeKey key)
    {
        if (destination.Length is < MinLength or > MaxLength)
        {
            throw new ArgumentException($"a probe has {MinLength} to {MaxLength} bytes, not {destination.Length}", nameof(destination));
        }

        destination.Clear();
        destination[0] = Version;
        destination[1] = (byte)packet.Kind;
        destination[2] = packet.FullSize ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt64BigEndian(destination[8..], packet.LinkId);
        BinaryPrimitives.WriteUInt64BigEndian(destination[16..], packet.Sequence);
        BinaryPrimitives.WriteInt64BigEndian(destination[24..], packet.Timestamp);
        BinaryPrimitives.WriteUInt64BigEndian(destination[32..], packet.Received);
        Sign(destination[..^MacLength], packet.Kind, key, destination[^MacLength..]);
    }

    /// <summary>
    /// Reads what a packet claims. Nothing of it is to be believed before <see cref="Verify"/>: it only says which key to ask.
    /// </summary>
    public static bool TryReadUnverified(ReadOnlySpan<byte> bytes, out ProbePacket packet)
    {
        packet = default;
        if (bytes.Length is < MinLength or > MaxLength
            || bytes[0] != Version
            || bytes[1] is not ((byte)ProbeKind.Request or (byte)ProbeKind.Reply)
            || bytes[2] > 1
            || bytes[3..8].ContainsAnyExcept((byte)0))
        {
            return false;
        }

        packet = new ProbePacket(
            (ProbeKind)bytes[1],
            bytes[2] == 1,
            BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]),
            BinaryPrimitives.ReadUInt64BigEndian(bytes[16..]),
            BinaryPrimitives.ReadInt64BigEndian(bytes[24..]),
            BinaryPrimitives.ReadUInt64BigEndian(bytes[32..]));
        return true;
    }

    /// <summary>Whether a packet that <see cref="TryReadUnverified"/> has read is signed with that key; in constant time.</summary>
    public static bool Verify(ReadOnlySpan<byte> bytes, ProbeKey key)
    {
        Span<byte> mac = stackalloc byte[MacLength];
        Sign(bytes[..^MacLength], (ProbeKind)bytes[1], key, mac);
        return CryptographicOperations.FixedTimeEquals(mac, bytes[^MacLength..]);
    }

    private static void Sign(ReadOnlySpan<byte> bytes, ProbeKind kind, ProbeKey key, Span<byte> mac)
    {
        Span<byte> hash = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(kind == ProbeKind.Request ? key.RequestKey : key.ReplyKey, bytes, hash);
        hash[..MacLength].CopyTo(mac);
    }
}
