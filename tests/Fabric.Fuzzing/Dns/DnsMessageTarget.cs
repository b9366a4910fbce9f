using Fabric.Protocol.Dns;

namespace Fabric.Fuzzing.Dns;

/// <summary>The general parser: what it reads it can write, and reads the same again.</summary>
internal sealed class DnsMessageTarget : FuzzTarget
{
    private readonly byte[] _buffer = new byte[DnsLimits.Tcp];
    private readonly byte[] _again = new byte[DnsLimits.Tcp];

    public override string Name => "dns-message";

    public override byte[][] Seeds =>
        [.. DnsSamples.Queries.Select(q => q.Bytes()), .. DnsSamples.Replies(DnsSamples.Query("www.shop.example", DnsType.A)).Select(r => r.Bytes())];

    public override ulong Read(byte[] input)
    {
        if (!DnsMessage.TryRead(input, out var message))
        {
            return Way(-1);
        }

        // Two OPT records are legal to read and illegal to write.
        if (message.Additionals.Count(r => r.Type == DnsType.Opt) <= 1)
        {
            var length = message.Write(_buffer);
            Must(DnsMessage.TryRead(_buffer.AsSpan(0, length), out var again), "what was written can be read");
            Must(again.Id == message.Id && again.Flags == message.Flags && again.Rcode == message.Rcode && again.Opcode == message.Opcode, "its header is the same");
            Must(again.Questions.SequenceEqual(message.Questions), "its questions are the same");
            Must(again.Write(_again) == length && _again.AsSpan(0, length).SequenceEqual(_buffer.AsSpan(0, length)), "it is written the same");
        }

        var types = 0;
        foreach (var record in message.Answers.Concat(message.Authorities).Concat(message.Additionals))
        {
            Must(DnsText.Of(record.Data).Length > 0 || record.Data is DnsTxt or DnsOpt, "it can be written for people");
            types |= 1 << (DnsSamples.TypeOf(record.Type) & 31);
        }

        return Way([(int)message.Opcode, Math.Min(2, message.Questions.Length), .. DnsSamples.Sections(message), types]);
    }
}
