using System.Buffers;
using System.Buffers.Binary;
using Fabric.Protocol.Http;

namespace Fabric.Gateway.Egress.Http;

/// <summary>SETTINGS as they are passed on (RFC 9113 §6.5): what would let a request be what is not read as one is taken out.</summary>
internal static class Http2Settings
{
    private const int Size = 6;
    private const int TableSize = 1;
    private const int EnablePush = 2;
    private const int FrameSize = 5;

    /// <summary>Extended CONNECT (RFC 8441).</summary>
    private const int EnableConnect = 8;

    /// <summary>Of the caller: nothing is pushed to it that nobody asked for.</summary>
    /// <param name="payload">As received. Throws <see cref="Http2Exception"/> when it is cut.</param>
    /// <param name="isFirst">Whether it is the first of the connection.</param>
    public static ReadOnlySpan<byte> OfCaller(ReadOnlySpan<byte> payload, bool isFirst) => Rewrite(payload, isFirst, int.MaxValue, out _);

    /// <summary>Of the endpoint, with the table that it lets the caller's encoder have; 0 when it does not say.</summary>
    public static ReadOnlySpan<byte> OfEndpoint(ReadOnlySpan<byte> payload, out int table) => Rewrite(payload, false, HpackDecoder.MaxTable, out table);

    private static ReadOnlySpan<byte> Rewrite(ReadOnlySpan<byte> payload, bool forbidsPush, uint largestTable, out int table)
    {
        table = 0;
        if (payload.Length % Size != 0)
        {
            throw new Http2Exception(Http2Error.FrameSize, "SETTINGS is cut");
        }

        var settings = new ArrayBufferWriter<byte>(payload.Length + Size);
        for (; !payload.IsEmpty; payload = payload[Size..])
        {
            int id = BinaryPrimitives.ReadUInt16BigEndian(payload);
            var value = BinaryPrimitives.ReadUInt32BigEndian(payload[2..]);
            value = id switch
            {
                FrameSize => Math.Min(value, Http2Frame.MaxPayload),
                TableSize => Math.Min(value, largestTable),
                EnableConnect => 0,
                _ => value,
            };
            table = id == TableSize ? (int)value : table;
            if (id != EnablePush)
            {
                Add(settings, id, value);
            }
        }

        if (forbidsPush)
        {
            Add(settings, EnablePush, 0);
        }

        return settings.WrittenSpan;
    }

    private static void Add(ArrayBufferWriter<byte> settings, int id, uint value)
    {
        var bytes = settings.GetSpan(Size);
        BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)id);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[2..], value);
        settings.Advance(Size);
    }
}
