using Fabric.Topology.Asked;

namespace Fabric.Topology.Tests;

public class ScalarTests
{
    [Theory]
    [InlineData("1kbit", 1_000L)]
    [InlineData("2.5Gbit", 2_500_000_000L)]
    [InlineData("100Tbit", 100_000_000_000_000L)]
    [InlineData("1500bit", 1_500L)]
    [InlineData("1bit", null)]
    [InlineData("101Tbit", null)]
    [InlineData("999999999.999999999Tbit", null)]
    [InlineData("-1Gbit", null)]
    [InlineData("1gbit", null)]
    [InlineData("1Gbit\n", null)]
    public void Capacity(string text, long? expected) =>
        Assert.Equal(expected, Scalars.Capacity.Parse(text) is { Usable: true } parsed ? parsed.Value : null);

    [Theory]
    [InlineData("10ms", 10)]
    [InlineData("2m", 120_000)]
    [InlineData("1h", 3_600_000)]
    [InlineData("9ms", null)]
    [InlineData("3600001ms", null)]
    [InlineData("999999999h", null)]
    [InlineData("9999999999999ms", null)]
    [InlineData("1.5s", null)]
    [InlineData("1 s", null)]
    [InlineData("", null)]
    public void Duration(string text, int? expected) =>
        Assert.Equal(
            expected, Scalars.Duration(10, 3_600_000).Parse(text) is { Usable: true } p ? (int)p.Value.TotalMilliseconds : null);

    [Theory]
    [InlineData("192.0.2.1", true)]
    [InlineData("2001:db8::1", true)]
    [InlineData("2001:DB8:0::1", true)]
    [InlineData("1", false)]
    [InlineData("192.0.2", false)]
    [InlineData("0x7f.0.0.1", false)]
    [InlineData("192.0.2.01", false)]
    [InlineData("::ffff:192.0.2.1", false)]
    [InlineData("fe80::1%eth0", false)]
    [InlineData("[::1]", false)]
    [InlineData("::1]", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("::", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("ff02::1", false)]
    [InlineData(" 192.0.2.1", false)]
    public void Unicast_address(string text, bool usable) => Assert.Equal(usable, Scalars.UnicastAddress.Parse(text).Usable);

    [Theory]
    [InlineData("192.0.2.1:53", true)]
    [InlineData("[2001:db8::1]:53", true)]
    [InlineData("0.0.0.0:53", true)]
    [InlineData("[::]:53", true)]
    [InlineData("[192.0.2.1]:53", false)]
    [InlineData("2001:db8::1:53", false)]
    [InlineData("192.0.2.1:0", false)]
    [InlineData("192.0.2.1:65536", false)]
    [InlineData("192.0.2.1:+53", false)]
    [InlineData("192.0.2.1:", false)]
    [InlineData(":53", false)]
    [InlineData("[]:53", false)]
    public void Listener(string text, bool usable) => Assert.Equal(usable, Scalars.Listener.Parse(text).Usable);

    [Theory]
    [InlineData("10.0.0.0/8", true)]
    [InlineData("0.0.0.0/0", true)]
    [InlineData("::/0", true)]
    [InlineData("192.0.2.7/32", true)]
    [InlineData("2001:db8::/32", true)]
    [InlineData("10.0.0.1/8", false)]
    [InlineData("10.0.0.0/33", false)]
    [InlineData("10.0.0.0/-1", false)]
    [InlineData("10.0.0.0", false)]
    [InlineData("10.0.0.0/8/8", false)]
    [InlineData("/8", false)]
    public void Range(string text, bool usable) => Assert.Equal(usable, Scalars.Range.Parse(text).Usable);

    [Theory]
    [InlineData("0.0.0.0/0", false)]
    [InlineData("::/0", false)]
    [InlineData("192.0.0.0/2", false)]
    [InlineData("224.0.0.0/8", false)]
    [InlineData("ff00::/16", false)]
    [InlineData("10.0.0.0/31", false)]
    [InlineData("fd00::/127", false)]
    [InlineData("10.0.0.0/30", true)]
    [InlineData("fd00::/8", true)]
    public void Service_range(string text, bool usable) => Assert.Equal(usable, Scalars.ServiceRange.Parse(text).Usable);

    [Theory]
    [InlineData("site/paris/workload/shop", true)]
    [InlineData("site/*", true)]
    [InlineData("ns/Default_1/sa/x.y", true)]
    [InlineData("site/paris/", false)]
    [InlineData("site/./x", false)]
    [InlineData("site/../*", false)]
    [InlineData("..", false)]
    [InlineData("site/par*", false)]
    [InlineData("site/%2e%2e", false)]
    [InlineData("site/paris\n", false)]
    [InlineData("site/*/*", false)]
    [InlineData("/*", false)]
    [InlineData("", false)]
    public void Policy_path(string text, bool usable) => Assert.Equal(usable, Scalars.PolicyPath.Parse(text).Usable);

    [Fact]
    public void Policy_paths_leave_room_for_the_trust_domain_in_2048_bytes() =>
        Assert.False(Scalars.PolicyPath.Parse(new string('a', 2_000)).Usable);

    [Theory]
    [InlineData("gatways", "gateways", 1)]
    [InlineData("ab", "ba", 1)]
    [InlineData("paris", "parsi", 1)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("", "abc", 3)]
    [InlineData("a", "abcdefghij", 5)]
    public void Distance_is_that_of_typing_errors(string a, string b, int distance) =>
        Assert.Equal(distance, Words.Distance(a, b, 5));

    [Fact]
    public void Values_in_messages_are_short_and_printable()
    {
        Assert.Equal("'a\\nb\\u001b'", Words.Quote("a\nb\u001b"));
        Assert.Equal(83, Words.Quote(new string('x', 1_000)).Length);
    }
}
