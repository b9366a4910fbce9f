using Fabric.Protocol.Dns;

namespace Fabric.Protocol.Tests.Dns;

public class DnsNameTests
{
    private static readonly string Label63 = new('a', 63);

    [Theory]
    [InlineData("web.shop.svc.clusterset.local", "web.shop.svc.clusterset.local.")]
    [InlineData("web.", "web.")]
    [InlineData(".", ".")]
    [InlineData("_http._tcp.Web", "_http._tcp.Web.")]
    [InlineData(@"a\.b.c", @"a\.b.c.")]
    [InlineData(@"a\046b.c", @"a\.b.c.")]
    [InlineData(@"a\000\255.c", @"a\000\255.c.")]
    [InlineData(@"a\\.c", @"a\\.c.")]
    public void Presentation_form_round_trips(string text, string expected)
    {
        var name = DnsName.Parse(text);
        Assert.Equal(expected, name.ToString());
        Assert.Equal(name, DnsName.Parse(name.ToString()));
        Assert.Equal(name, DnsName.FromWire(name.Wire));
    }

    [Theory]
    [InlineData("")]
    [InlineData("a..b")]
    [InlineData(".a")]
    [InlineData("..")]
    [InlineData("ä.b")]
    [InlineData(@"a\")]
    [InlineData(@"a\25")]
    [InlineData(@"a\256.b")]
    public void Bad_names_are_refused_with_the_rule(string text)
    {
        Assert.False(DnsName.TryParse(text, out _, out var error));
        Assert.Contains("DNS name", error);
    }

    [Fact]
    public void A_label_has_63_bytes_and_a_name_255()
    {
        Assert.True(DnsName.TryParse(Label63, out _, out _));
        Assert.False(DnsName.TryParse(Label63 + "a", out _, out _));

        var longest = $"{Label63}.{Label63}.{Label63}.{new string('b', 61)}";
        Assert.Equal(255, DnsName.Parse(longest).Wire.Length);
        Assert.Equal(255, DnsName.Parse(longest + ".").Wire.Length);
        Assert.False(DnsName.TryParse(longest + "b", out _, out _));
        Assert.False(DnsName.TryParse(longest + "b.", out _, out _));
        Assert.False(DnsName.TryParse(longest + ".b", out _, out _));
        Assert.False(DnsName.TryParse(string.Join('.', Enumerable.Repeat("a", 5000)), out _, out _));
        Assert.Throws<FormatException>(() => DnsName.Parse(longest).Prepend("a"));
        Assert.Equal(127, DnsName.Parse(string.Join('.', Enumerable.Repeat("a", 127))).LabelCount);
    }

    [Fact]
    public void Case_of_ascii_letters_is_kept_and_not_compared()
    {
        var (lower, upper) = (DnsName.Parse("web.shop"), DnsName.Parse("WEB.Shop"));
        Assert.Equal(lower, upper);
        Assert.Equal(lower.GetHashCode(), upper.GetHashCode());
        Assert.Equal("WEB.Shop.", upper.ToString());

        // '[' and '{' differ by the case bit, and are not letters.
        Assert.NotEqual(DnsName.Parse("["), DnsName.Parse("{"));
        Assert.NotEqual(DnsName.Parse("@"), DnsName.Parse("`"));
    }

    [Fact]
    public void Ancestors_are_whole_labels()
    {
        var zone = DnsName.Parse("clusterset.local");
        Assert.True(DnsName.Parse("svc.CLUSTERSET.local").IsAtOrBelow(zone));
        Assert.True(zone.IsAtOrBelow(zone));
        Assert.True(zone.IsAtOrBelow(DnsName.Root));
        Assert.False(DnsName.Parse("xclusterset.local").IsAtOrBelow(zone));
        Assert.False(DnsName.Parse("local").IsAtOrBelow(zone));
        Assert.Equal(DnsName.Parse("local"), zone.Parent);
        Assert.Equal(DnsName.Root, DnsName.Root.Parent);
        Assert.Equal(DnsName.Parse(@"a\.b.local"), DnsName.Parse("local").Prepend("a.b"));
    }

    [Theory]
    [InlineData(new byte[0])]
    [InlineData(new byte[] { 1 })]
    [InlineData(new byte[] { 1, 97 })]
    [InlineData(new byte[] { 0, 0 })]
    [InlineData(new byte[] { 64, 0 })]
    [InlineData(new byte[] { 0xC0, 0 })]
    public void Wire_form_must_be_exactly_one_plain_name(byte[] wire) =>
        Assert.Throws<ArgumentException>(() => DnsName.FromWire(wire));
}
