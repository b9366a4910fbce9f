using System.Buffers.Binary;
using Google.Protobuf;

namespace Fabric.Identity.Joining;

/// <summary>
/// A message on the join stream: its length in 4 bytes, big-endian, and the message. The reader names its limit.
/// </summary>
internal static class JoinFraming
{
    public const int MaxHello = 64 << 10;
    public const int MaxRequest = 16 << 10;
    public const int MaxReply = 8 << 20;

    public static async Task WriteAsync(Stream stream, IMessage message, CancellationToken ct)
    {
        var bytes = new byte[4 + message.CalculateSize()];
        BinaryPrimitives.WriteInt32BigEndian(bytes, bytes.Length - 4);
        message.WriteTo(bytes.AsSpan(4));
        await stream.WriteAsync(bytes, ct);
        await stream.FlushAsync(ct);
    }

    /// <summary>
    /// Throws <see cref="InvalidDataException"/> when the message is over the limit or malformed, and
    /// <see cref="EndOfStreamException"/> when the stream ends within it.
    /// </summary>
    public static async Task<T> ReadAsync<T>(Stream stream, MessageParser<T> parser, int limit, CancellationToken ct)
        where T : IMessage<T>
    {
        var head = new byte[4];
        await stream.ReadExactlyAsync(head, ct);
        var length = BinaryPrimitives.ReadUInt32BigEndian(head);
        if (length > limit)
        {
            throw new InvalidDataException($"a message of {length} bytes is over the limit of {limit}");
        }

        // Grows with what arrives, not with what is announced: a stranger cannot make us hold 8 MiB by 4 bytes.
        var body = new MemoryStream();
        var chunk = new byte[Math.Min(length, 16 << 10)];
        while (body.Length < length)
        {
            var read = await stream.ReadAsync(chunk.AsMemory(0, (int)Math.Min(chunk.Length, length - body.Length)), ct);
            if (read == 0)
            {
                throw new EndOfStreamException($"the stream ended within a message, at {body.Length} of {length} bytes");
            }

            body.Write(chunk, 0, read);
        }

        try
        {
            return parser.ParseFrom(body.GetBuffer(), 0, (int)length);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException($"a malformed message: {e.Message}", e);
        }
    }
}
