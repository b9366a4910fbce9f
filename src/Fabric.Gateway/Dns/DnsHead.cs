using System.Buffers.Binary;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>What stands before a record's data, where the record is written as it is to be sent and nothing is looked for that it could share.</summary>
internal static class DnsHead
{
    /// <summary>Bytes between a record's owner and its data.</summary>
    public const int Length = 10;

    /// <summary>The owner, when it is the question's name from there on (RFC 1035 §4.1.4).</summary>
    /// <param name="offset">Bytes into the question.</param>
    public static ushort PointerTo(int offset) => (ushort)(0xC000 | DnsLimits.Header + offset);

    /// <summary>Type, class IN, TTL and the data's length.</summary>
    /// <param name="to">At least <see cref="Length"/> bytes.</param>
    /// <param name="type">The record's type.</param>
    /// <param name="ttl">Seconds.</param>
    /// <param name="dataLength">Bytes of data that follow.</param>
    public static void Write(Span<byte> to, DnsType type, uint ttl, int dataLength)
    {
        BinaryPrimitives.WriteUInt16BigEndian(to, (ushort)type);
        BinaryPrimitives.WriteUInt16BigEndian(to[2..], (ushort)DnsClass.Internet);
        BinaryPrimitives.WriteUInt32BigEndian(to[4..], ttl);
        BinaryPrimitives.WriteUInt16BigEndian(to[8..], (ushort)dataLength);
    }
}
