using System.Buffers.Binary;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;

namespace Fabric.Fuzzing.Dns;

/// <summary>The bytes of a connection, which come in pieces of any size: each whole message in them is answered once, or not at all.</summary>
internal sealed class DnsStreamTarget : FuzzTarget
{
    private readonly DnsServer _server = DnsQueryTarget.Server();

    public override string Name => "dns-stream";

    public override byte[][] Seeds =>
        [.. DnsSamples.Queries.Select(q => DnsSamples.Framed(q)), DnsSamples.Framed(DnsSamples.Queries), DnsSamples.Framed(DnsSamples.Queries[10..12]), [0, 0], [0, 0, 0, 1, 0]];

    public override ulong Read(byte[] input)
    {
        using var stream = new Pieces(input);
        var connection = new DnsTcpConnection(
            stream, new DnsTcpClient([192, 0, 2, 1], Tls: input.Length % 2 == 1), 4, _server.AnswerTcp, _server.ForwardTcpAsync)
        {
            KeepAlive = () => TimeSpan.FromSeconds(10),
            Stirred = () => { },
        };
        // Nothing in it waits: the stream has all, and others answer at once.
        var ended = connection.ExchangeAsync(default);
        Must(ended.IsCompleted, "it ends with the stream");
        ended.GetAwaiter().GetResult();

        var (whole, due) = Asked(input);
        var answered = stream.Written.ToArray().AsSpan();
        var (answers, rcodes) = (0, 0);
        for (; answered.Length > 0; answers++)
        {
            Must(answered.Length >= 2 && BinaryPrimitives.ReadUInt16BigEndian(answered) is var length && answered.Length >= 2 + length, "answers are framed");
            Must(DnsMessage.TryRead(answered.Slice(2, BinaryPrimitives.ReadUInt16BigEndian(answered)), out var message), "an answer reads as one");
            rcodes |= 1 << Math.Min(24, (int)message.Rcode);
            answered = answered[(2 + BinaryPrimitives.ReadUInt16BigEndian(answered))..];
        }

        Must(answers == due, $"{due} messages are answered, and not {answers}");
        return Way(Math.Min(4, whole), Math.Min(4, answers), rcodes, Size(input.Length));
    }

    /// <summary>Messages that are there whole, and those of them that are to be answered.</summary>
    private static (int Whole, int Due) Asked(ReadOnlySpan<byte> input)
    {
        var (whole, due) = (0, 0);
        while (input.Length >= 2 && BinaryPrimitives.ReadUInt16BigEndian(input) is var length && input.Length >= 2 + length)
        {
            whole++;
            due += DnsQuery.Read(input.Slice(2, length)).Verdict == DnsVerdict.Drop ? 0 : 1;
            input = input[(2 + length)..];
        }

        return (whole, due);
    }

    /// <summary>Gives an input in pieces whose sizes it says itself, and takes what is written.</summary>
    private sealed class Pieces(byte[] input) : MemoryStream
    {
        private int _at;

        public MemoryStream Written { get; } = new();

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var size = _at < input.Length ? 1 + (input[_at] ^ input[input.Length / 2]) : 0;
            var length = Math.Min(Math.Min(size, buffer.Length), input.Length - _at);
            input.AsSpan(_at, length).CopyTo(buffer.Span);
            _at += length;
            return ValueTask.FromResult(length);
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => Written.WriteAsync(buffer, cancellationToken);
    }
}
