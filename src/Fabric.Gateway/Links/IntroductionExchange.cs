using System.Buffers.Binary;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Gateway.Links;

/// <summary>
/// The exchange of <c>introduce.proto</c> on an authenticated stream. Errors: <see cref="InvalidDataException"/> when the other
/// side breaks the format, <see cref="IOException"/> when it refuses or goes away.
/// </summary>
internal static class IntroductionExchange
{
    public const string Alpn = "fabric-introduce/1";
    public const int KeyLength = 32;
    private const int MaxLength = 4096;

    /// <summary>The dialling side: speaks first.</summary>
    public static async Task<Introduction> ProposeAsync(Stream stream, Introduction mine, CancellationToken cancellationToken)
    {
        await WriteAsync(stream, mine, cancellationToken);
        return Accepted(await ReadAsync(stream, cancellationToken), mine.Link);
    }

    /// <summary>The accepting side: <paramref name="answer"/> says what to reply to what came.</summary>
    public static async Task AnswerAsync(Stream stream, Func<Introduction, Introduction> answer, CancellationToken cancellationToken)
    {
        var theirs = await ReadAsync(stream, cancellationToken);
        await WriteAsync(stream, answer(theirs), cancellationToken);
    }

    private static Introduction Accepted(Introduction reply, string link)
    {
        if (reply.Refusal.Length > 0)
        {
            throw new IOException($"the other end takes no part in link {link}: {reply.Refusal}");
        }

        return reply.WireguardKey.Length == KeyLength
            ? reply
            : throw new InvalidDataException($"a WireGuard key has {KeyLength} bytes, the peer's has {reply.WireguardKey.Length}");
    }

    private static async Task WriteAsync(Stream stream, Introduction message, CancellationToken cancellationToken)
    {
        var frame = new byte[4 + message.CalculateSize()];
        BinaryPrimitives.WriteInt32BigEndian(frame, frame.Length - 4);
        message.WriteTo(frame.AsSpan(4));
        await stream.WriteAsync(frame, cancellationToken);
        await stream.FlushAsync(cancellationToken);
    }

    private static async Task<Introduction> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        var prefix = new byte[4];
        await stream.ReadExactlyAsync(prefix, cancellationToken);
        var length = BinaryPrimitives.ReadUInt32BigEndian(prefix);
        if (length > MaxLength)
        {
            throw new InvalidDataException($"an introduction has at most {MaxLength} bytes, this one announces {length}");
        }

        var body = new byte[length];
        await stream.ReadExactlyAsync(body, cancellationToken);
        try
        {
            return Introduction.Parser.ParseFrom(body);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException("the introduction is not a protobuf message", e);
        }
    }
}
