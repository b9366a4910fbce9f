using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using Google.Protobuf;

namespace Fabric.Protocol.Grpc;

/// <summary>
/// Length-prefixed messages: one byte of flags (bit 0: compressed), four bytes of length, big endian, then the message.
/// Source: gRPC PROTOCOL-HTTP2.md, "Length-Prefixed-Message".
/// </summary>
public static class GrpcFraming
{
    public const int PrefixLength = 5;

    /// <summary>Largest message taken or sent unless told otherwise, bytes: 4 MiB, as in other implementations.</summary>
    public const int DefaultMaxMessageBytes = 4 * 1024 * 1024;

    /// <summary>Throws <see cref="GrpcException"/> RESOURCE_EXHAUSTED above the limit, and writes nothing then.</summary>
    public static void Write(IBufferWriter<byte> output, IMessage message, int maxMessageBytes = DefaultMaxMessageBytes)
    {
        var length = message.CalculateSize();
        CheckLength((uint)length, maxMessageBytes);
        var prefix = output.GetSpan(PrefixLength);
        prefix[0] = 0;
        BinaryPrimitives.WriteInt32BigEndian(prefix[1..], length);
        output.Advance(PrefixLength);
        message.WriteTo(output);
    }

    /// <summary>
    /// Takes the first message off <paramref name="input"/>; false when it has not all come yet. Throws
    /// <see cref="GrpcException"/>: RESOURCE_EXHAUSTED above the limit (before its bytes have come), UNIMPLEMENTED when
    /// compressed, INTERNAL for unknown flags.
    /// </summary>
    public static bool TryRead(ref ReadOnlySequence<byte> input, int maxMessageBytes, out ReadOnlySequence<byte> message)
    {
        message = default;
        if (input.Length < PrefixLength)
        {
            return false;
        }

        Span<byte> prefix = stackalloc byte[PrefixLength];
        input.Slice(0, PrefixLength).CopyTo(prefix);
        switch (prefix[0])
        {
            case 0:
                break;
            case 1:
                throw new GrpcException(GrpcStatus.Unimplemented, "the message is compressed: only identity is spoken here");
            default:
                throw new GrpcException(GrpcStatus.Internal, $"message flags are 0x{prefix[0]:x2}: only 0 and 1 are defined");
        }

        var length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        CheckLength(length, maxMessageBytes);
        if (input.Length < PrefixLength + length)
        {
            return false;
        }

        message = input.Slice(PrefixLength, length);
        input = input.Slice(PrefixLength + length);
        return true;
    }

    /// <summary>
    /// The next message of a body; null at its end. Throws <see cref="GrpcException"/> as <see cref="TryRead"/> does, and
    /// INTERNAL when the body ends within a message or the message does not parse.
    /// </summary>
    internal static async ValueTask<T?> ReadAsync<T>(
        PipeReader body, MessageParser<T> parser, int maxMessageBytes, CancellationToken cancellationToken)
        where T : class, IMessage<T>
    {
        while (true)
        {
            var read = await body.ReadAsync(cancellationToken);
            var rest = read.Buffer;
            var examined = rest.End;
            try
            {
                if (TryRead(ref rest, maxMessageBytes, out var bytes))
                {
                    examined = rest.Start;
                    return Parse(parser, bytes);
                }

                if (read.IsCompleted)
                {
                    return rest.IsEmpty ? null
                        : throw new GrpcException(GrpcStatus.Internal, $"the body ended {rest.Length} bytes into a message");
                }
            }
            finally
            {
                body.AdvanceTo(rest.Start, examined);
            }
        }
    }

    private static T Parse<T>(MessageParser<T> parser, ReadOnlySequence<byte> bytes)
        where T : class, IMessage<T>
    {
        try
        {
            return parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new GrpcException(GrpcStatus.Internal, $"the message is no {typeof(T).Name}: {e.Message}", e);
        }
    }

    private static void CheckLength(uint length, int maxMessageBytes)
    {
        if (length > maxMessageBytes)
        {
            throw new GrpcException(
                GrpcStatus.ResourceExhausted,
                $"the message has {length} bytes: at most {maxMessageBytes} are taken");
        }
    }
}
