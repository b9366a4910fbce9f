using System.Buffers.Binary;

namespace Fabric.Protocol.Dns;

/// <summary>
/// The 12 bytes before every message (RFC 1035 §4.1.1). <see cref="Rcode"/> holds only the 4 bits that fit here; the upper
/// ones of an extended code are in the OPT record.
/// </summary>
public readonly record struct DnsHeader(
    ushort Id, DnsFlags Flags, DnsOpcode Opcode, DnsRcode Rcode,
    ushort Questions, ushort Answers, ushort Authorities, ushort Additionals)
{
    private const ushort FlagMask = (ushort)(DnsFlags.CheckingDisabled | DnsFlags.AuthenticData | DnsFlags.RecursionAvailable
        | DnsFlags.RecursionDesired | DnsFlags.Truncated | DnsFlags.Authoritative | DnsFlags.Response);

    public bool IsResponse => (Flags & DnsFlags.Response) != 0;

    /// <summary>False when fewer than 12 bytes are there. The reserved bit is ignored.</summary>
    public static bool TryRead(ReadOnlySpan<byte> message, out DnsHeader header)
    {
        if (message.Length < DnsLimits.Header)
        {
            header = default;
            return false;
        }

        var bits = BinaryPrimitives.ReadUInt16BigEndian(message[2..]);
        header = new DnsHeader(
            BinaryPrimitives.ReadUInt16BigEndian(message),
            (DnsFlags)(bits & FlagMask),
            (DnsOpcode)(bits >> 11 & 0xF),
            (DnsRcode)(bits & 0xF),
            BinaryPrimitives.ReadUInt16BigEndian(message[4..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[6..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[8..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[10..]));
        return true;
    }

    /// <summary>Writes 12 bytes. The reserved bit is 0.</summary>
    public void Write(Span<byte> message)
    {
        BinaryPrimitives.WriteUInt16BigEndian(message, Id);
        BinaryPrimitives.WriteUInt16BigEndian(
            message[2..], (ushort)((ushort)Flags & FlagMask | ((int)Opcode & 0xF) << 11 | (int)Rcode & 0xF));
        BinaryPrimitives.WriteUInt16BigEndian(message[4..], Questions);
        BinaryPrimitives.WriteUInt16BigEndian(message[6..], Answers);
        BinaryPrimitives.WriteUInt16BigEndian(message[8..], Authorities);
        BinaryPrimitives.WriteUInt16BigEndian(message[10..], Additionals);
    }
}
