using Fabric.Protocol.Http;

namespace Fabric.Protocol.Tests.Http;

public sealed class Http2StatusTests
{
    /// <summary>Forms of RFC 7541 §6; C.6.1 has the one that is coded by Huffman's table.</summary>
    [Theory]
    [InlineData("88", 200)]
    [InlineData("8E", 500)]
    [InlineData("8D6196DF69", 404)]
    [InlineData("0803343138", 418)]
    [InlineData("4803333037", 307)]
    [InlineData("1803353033", 503)]
    [InlineData("3FE11F88", 200)]
    [InlineData("2088", 200)]
    [InlineData("20203FE11F4803333037", 307)]
    [InlineData("48826402", 0)]
    [InlineData("BE", 0)]
    [InlineData("", 0)]
    [InlineData("20", 0)]
    [InlineData("3FFF", 0)]
    [InlineData("3FFFFFFF", 0)]
    [InlineData("08", 0)]
    [InlineData("080334", 0)]
    [InlineData("0803343161", 0)]
    [InlineData("0803303030", 0)]
    [InlineData("0005782D6E756D026F6B", 0)]
    public void Status_is_read_where_it_needs_no_table(string block, int status) => Assert.Equal(status, Http2Status.Of(Convert.FromHexString(block)));

    [Fact]
    public void Fuzz_any_bytes_have_a_status_or_none()
    {
        var random = new Random(9_113);
        var bytes = new byte[12];
        for (var i = 0; i < 200_000; i++)
        {
            random.NextBytes(bytes);
            Assert.InRange(Http2Status.Of(bytes.AsSpan(0, random.Next(bytes.Length + 1))), 0, 999);
        }
    }
}
