using System.Text;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Protocol.Proto.Health;
using Fabric.Protocol.Proto.Workload;
using Google.Protobuf.Reflection;

namespace Fabric.Protocol.Tests.Grpc;

public sealed class GrpcHeadersTests
{
    [Theory]
    [InlineData("1H", 36_000_000_000)]
    [InlineData("2M", 1_200_000_000)]
    [InlineData("3S", 30_000_000)]
    [InlineData("100m", 1_000_000)]
    [InlineData("99999999u", 999_999_990)]
    [InlineData("1n", 1)]
    [InlineData("0n", 0)]
    [InlineData("99999999H", 99_999_999 * 36_000_000_000)]
    public void Timeout_is_read(string text, long ticks)
    {
        Assert.True(GrpcHeaders.TryParseTimeout(text, out var timeout));
        Assert.Equal(ticks, timeout.Ticks);
    }

    [Theory]
    [InlineData("")]
    [InlineData("S")]
    [InlineData("5")]
    [InlineData("-1S")]
    [InlineData(" 1S")]
    [InlineData("1 S")]
    [InlineData("1s")]
    [InlineData("1.5S")]
    [InlineData("123456789S")]
    [InlineData("١S")]
    public void Timeout_that_breaks_the_grammar_is_not_read(string text) =>
        Assert.False(GrpcHeaders.TryParseTimeout(text, out _));

    [Theory]
    [InlineData(-1, "0u")]
    [InlineData(0, "0u")]
    [InlineData(1, "1u")]
    [InlineData(TimeSpan.TicksPerSecond, "1000000u")]
    [InlineData(99_999_999 * 10L, "99999999u")]
    [InlineData((99_999_999 * 10L) + 1, "100000m")]
    [InlineData(TimeSpan.TicksPerDay * 2, "172800S")]
    [InlineData(long.MaxValue, "99999999H")]
    public void Timeout_is_written_in_the_finest_unit_that_holds_it(long ticks, string text) =>
        Assert.Equal(text, GrpcHeaders.FormatTimeout(new TimeSpan(ticks)));

    [Fact]
    public void Timeout_is_never_told_shorter_than_it_is()
    {
        var random = new Random(3);
        for (var i = 0; i < 20_000; i++)
        {
            var timeout = new TimeSpan(random.NextInt64(1L << random.Next(1, 62)));
            Assert.True(GrpcHeaders.TryParseTimeout(GrpcHeaders.FormatTimeout(timeout), out var read));
            Assert.InRange(read.Ticks, timeout.Ticks, timeout.Ticks + Math.Max(10, timeout.Ticks / 90_000));
        }
    }

    [Theory]
    [InlineData("plain ~ text", "plain ~ text")]
    [InlineData("100 %", "100 %25")]
    [InlineData("é\r\n", "%C3%A9%0D%0A")]
    [InlineData("🜁", "%F0%9F%9C%81")]
    public void Message_is_percent_encoded(string message, string encoded)
    {
        Assert.Equal(encoded, GrpcHeaders.EncodeMessage(message));
        Assert.Equal(message, GrpcHeaders.DecodeMessage(encoded));
    }

    [Theory]
    [InlineData("%", "%")]
    [InlineData("%4", "%4")]
    [InlineData("%zz%41", "%zzA")]
    [InlineData("%+1%41", "%+1A")]
    [InlineData("%C3", "\ufffd")]
    public void Message_badly_encoded_is_read_as_far_as_it_goes(string encoded, string message) =>
        Assert.Equal(message, GrpcHeaders.DecodeMessage(encoded));

    [Fact]
    public void Long_message_is_cut_between_characters()
    {
        var encoded = GrpcHeaders.EncodeMessage(new string('é', 10_000));

        Assert.InRange(encoded.Length, GrpcHeaders.MaxMessageLength - 9, GrpcHeaders.MaxMessageLength);
        Assert.Matches("^é+…$", GrpcHeaders.DecodeMessage(encoded));
    }

    [Fact]
    public void Any_message_survives_and_any_text_decodes()
    {
        var random = new Random(11);
        for (var round = 0; round < 5000; round++)
        {
            var runes = Enumerable.Range(0, random.Next(40))
                .Select(_ => random.Next(3) == 0 ? random.Next(0x110000) : random.Next(0x80))
                .Where(Rune.IsValid).Select(v => new Rune(v).ToString());
            var message = string.Concat(runes);
            var encoded = GrpcHeaders.EncodeMessage(message);
            Assert.DoesNotContain(encoded, c => c is < ' ' or > '~');
            Assert.Equal(message, GrpcHeaders.DecodeMessage(encoded));
            GrpcHeaders.DecodeMessage(string.Concat(Enumerable.Range(0, 20).Select(_ => "%%aF0Z1é"[random.Next(8)])));
        }
    }

    [Fact]
    public void Metadata_keeps_order_and_bytes()
    {
        GrpcMetadata metadata = [];
        metadata.Add("a", "1");
        metadata.Add("a", "2");
        for (var length = 0; length < 6; length++)
        {
            var bytes = Enumerable.Range(250, length).Select(b => (byte)b).ToArray();
            metadata.AddBinary("b-bin", bytes);
            Assert.Equal(bytes, metadata.GetBinary("b-bin"));
        }

        Assert.Equal("2", metadata.Get("a"));
        Assert.Null(metadata.Get("c"));
        Assert.Equal(8, metadata.Count);
        Assert.DoesNotContain(metadata, e => e.Value.Contains('='));
    }

    [Theory]
    [InlineData("AQI=", new byte[] { 1, 2 })]
    [InlineData("AQI", new byte[] { 1, 2 })]
    [InlineData("BBBB, AQI", new byte[] { 1, 2 })]
    [InlineData("A", null)]
    [InlineData("?!", null)]
    public void Received_bytes_may_be_padded_joined_or_bad(string value, byte[]? expected)
    {
        GrpcMetadata metadata = [];
        metadata.AddReceived("X-Bin", value);
        Assert.Equal(expected, metadata.GetBinary("x-bin"));
    }

    [Theory]
    [InlineData("Upper", "x")]
    [InlineData("", "x")]
    [InlineData("grpc-status", "0")]
    [InlineData("content-type", "x")]
    [InlineData(":path", "x")]
    [InlineData("a b", "x")]
    [InlineData("a-bin", "x")]
    [InlineData("a", "é")]
    [InlineData("a", "x\r\nb: y")]
    public void Metadata_that_the_wire_cannot_carry_is_refused(string name, string value) =>
        Assert.Throws<ArgumentException>(() => new GrpcMetadata().Add(name, value));

    /// <summary>
    /// What the methods are called and take is said twice, in the .proto files and in code: this holds them together.
    /// </summary>
    [Fact]
    public void Methods_are_those_of_the_proto_files()
    {
        var declared = new[]
            {
                AdminReflection.Descriptor, CatalogReflection.Descriptor, HealthReflection.Descriptor, WorkloadReflection.Descriptor,
            }
            .SelectMany(f => f.Services).SelectMany(s => s.Methods).Select(Describe);
        var coded = new[] { typeof(AdminMethods), typeof(CatalogMethods), typeof(HealthMethods), typeof(WorkloadMethods) }
            .SelectMany(t => t.GetFields()).Select(f => f.GetValue(null)!)
            .Select(m => $"{m.GetType().GetProperty("Path")!.GetValue(m)} "
                + string.Join(' ', m.GetType().GetGenericArguments().Select(t => t.FullName)));

        Assert.Equal(declared.Order(), coded.Order());

        static string Describe(MethodDescriptor m) =>
            $"/{m.Service.FullName}/{m.Name} {m.InputType.ClrType.FullName} {m.OutputType.ClrType.FullName}";
    }
}
