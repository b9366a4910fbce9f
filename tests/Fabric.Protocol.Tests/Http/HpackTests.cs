using System.Buffers;
using System.Text;
using Fabric.Protocol.Http;

namespace Fabric.Protocol.Tests.Http;

public class HpackTests
{
    private sealed class Fields : IHpackFields
    {
        public List<string> All { get; } = [];

        public void Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, bool isSecret) =>
            All.Add($"{Encoding.Latin1.GetString(name)}: {Encoding.Latin1.GetString(value)}{(isSecret ? " !" : "")}");
    }

    private static string[] Decode(HpackDecoder decoder, string hex)
    {
        var fields = new Fields();
        decoder.Decode(Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal)), fields);
        return [.. fields.All];
    }

    /// <summary>RFC 7541, appendix C.3 and C.4: three requests on one connection, without the Huffman code and with it.</summary>
    [Theory]
    [InlineData("828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865", "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565")]
    [InlineData("828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")]
    public void Requests_of_the_standard(string first, string second, string third)
    {
        var decoder = new HpackDecoder();
        Assert.Equal([":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"], Decode(decoder, first));
        Assert.Equal([":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"], Decode(decoder, second));
        Assert.Equal([":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"], Decode(decoder, third));
    }

    /// <summary>RFC 7541, appendix C.6: a table of 256 bytes, from which entries go.</summary>
    [Fact]
    public void Responses_of_the_standard_push_entries_out()
    {
        var decoder = new HpackDecoder();
        Decode(decoder, "3fe101");
        Assert.Equal([":status: 302", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT", "location: https://www.example.com"],
            Decode(decoder, "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"));
        Assert.Equal([":status: 307", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT", "location: https://www.example.com"],
            Decode(decoder, "4883640effc1c0bf"));
        Assert.Equal([":status: 200", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:22 GMT", "location: https://www.example.com",
            "content-encoding: gzip", "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
            Decode(decoder, "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"));
    }

    [Fact]
    public void Secrets_stay_secrets() => Assert.Equal(["password: secret !"], Decode(new HpackDecoder(), "100870617373776f726406736563726574"));

    [Theory]
    [InlineData("80", "there is no field 0")]
    [InlineData("be", "there is no field 62")]
    [InlineData("ffffffffff0f", "a number does not end")]
    [InlineData("ff", "a number does not end")]
    [InlineData("00", "a text is missing")]
    [InlineData("0005ab", "a text does not end")]
    [InlineData("0081ff00", "a text is not in the Huffman code")]
    [InlineData("3fe2ff7f", "a table of 2097153 bytes is over the limit of 4096")]
    [InlineData("8220", "a table size amid fields")]
    public void What_is_no_block(string hex, string reason) =>
        Assert.Equal(reason, Assert.Throws<HpackException>(() => Decode(new HpackDecoder(), hex)).Message);

    [Theory]
    [InlineData("8100")] // Padding of zeros.
    [InlineData("84ffffffff")] // The end of the string.
    [InlineData("82f8ff")] // A byte of padding too many.
    public void Padding_is_ones_and_less_than_a_byte(string text) =>
        Assert.Throws<HpackException>(() => Decode(new HpackDecoder(), "000161" + text));

    [Fact]
    public void What_is_written_is_read_again_whatever_it_is()
    {
        var random = new Random(20_261_127);
        var decoder = new HpackDecoder();
        for (var i = 0; i < 2_000; i++)
        {
            var block = new ArrayBufferWriter<byte>();
            var expected = new List<string>();
            for (var n = random.Next(6); n > 0; n--)
            {
                var (name, value) = (new byte[random.Next(1, 300)], new byte[random.Next(random.Next(2) == 0 ? 10 : 20_000)]);
                random.NextBytes(name);
                random.NextBytes(value);
                var secret = random.Next(2) == 0;
                HpackWriter.Field(block, name, value, secret);
                expected.Add($"{Encoding.Latin1.GetString(name)}: {Encoding.Latin1.GetString(value)}{(secret ? " !" : "")}");
            }

            var fields = new Fields();
            decoder.Decode(block.WrittenSpan, fields);
            Assert.Equal(expected, fields.All);
        }
    }

    [Fact]
    public void Any_bytes_are_a_block_or_are_not()
    {
        var random = new Random(20_261_128);
        var decoded = 0;
        for (var i = 0; i < 50_000; i++)
        {
            var decoder = new HpackDecoder();
            try
            {
                for (var block = 0; block < 4; block++)
                {
                    var bytes = new byte[random.Next(40)];
                    random.NextBytes(bytes);
                    decoder.Decode(bytes, new Fields());
                    decoded++;
                }
            }
            catch (HpackException)
            {
                // As it may.
            }
        }

        Assert.InRange(decoded, 2_000, 150_000);
    }

    [Fact]
    public void A_table_that_is_full_lets_the_oldest_go()
    {
        var decoder = new HpackDecoder();
        for (var i = 0; i < 500; i++)
        {
            Decode(decoder, $"4001{(int)'a' + (i % 26):x2}04{i:x8}");
        }

        // Entries of 37 bytes: 110 of them fit.
        Assert.EndsWith($"{(char)('a' + (390 % 26))}: \0\0\u0001\u0086", Decode(decoder, "ff2c")[0], StringComparison.Ordinal);
        Assert.Throws<HpackException>(() => Decode(decoder, "ff2d"));
    }
}
