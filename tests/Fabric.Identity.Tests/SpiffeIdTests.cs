using System.Text;

namespace Fabric.Identity.Tests;

public class SpiffeIdTests
{
    [Theory]
    [InlineData("spiffe://acme.example", "acme.example", "")]
    [InlineData("spiffe://a_b-c.1/x", "a_b-c.1", "/x")]
    [InlineData("spiffe://acme.example/site/Paris/gateway/paris-a", "acme.example", "/site/Paris/gateway/paris-a")]
    [InlineData("spiffe://acme.example/...", "acme.example", "/...")]
    public void Accepts(string text, string trustDomain, string path)
    {
        Assert.True(SpiffeId.TryParse(text, out var id, out var reason), reason);
        Assert.Equal((trustDomain, path), (id.TrustDomain, id.Path));
        Assert.Equal(text, id.ToString());
        Assert.Equal("", reason);
    }

    [Theory]
    [InlineData(null, "does not begin with spiffe://")]
    [InlineData("", "does not begin with spiffe://")]
    [InlineData("https://acme.example/x", "does not begin with spiffe://")]
    [InlineData("SPIFFE://acme.example/x", "does not begin with spiffe://")]
    [InlineData("spiffe://", "the trust domain is empty")]
    [InlineData("spiffe:///x", "the trust domain is empty")]
    [InlineData("spiffe://Acme.example/x", "contains 'A'")]
    [InlineData("spiffe://acme.example:80/x", "contains ':'")]
    [InlineData("spiffe://user@acme.example/x", "contains '@'")]
    [InlineData("spiffe://acme.example/x?y=1", "contains '?'")]
    [InlineData("spiffe://acme.example/x#y", "contains '#'")]
    [InlineData("spiffe://acme.example?x", "contains '?'")]
    [InlineData("spiffe://acme.example/%61", "contains '%'")]
    [InlineData("spiffe://acme.example/é", "contains '\\u00e9'")]
    [InlineData("spiffe://acme.example/", "empty segment")]
    [InlineData("spiffe://acme.example/x/", "empty segment")]
    [InlineData("spiffe://acme.example//x", "empty segment")]
    [InlineData("spiffe://acme.example/./x", "segment \".\"")]
    [InlineData("spiffe://acme.example/x/..", "segment \"..\"")]
    [InlineData("spiffe://acme.example/x y", "contains ' '")]
    public void Rejects(string? text, string because)
    {
        Assert.False(SpiffeId.TryParse(text, out var id, out var reason));
        Assert.Null(id);
        Assert.Contains(because, reason);
    }

    [Fact]
    public void Has_limits()
    {
        var longest = "spiffe://" + new string('a', 255) + "/" + new string('b', 2048 - 9 - 255 - 1);
        Assert.True(SpiffeId.TryParse(longest, out _, out _));
        Assert.False(SpiffeId.TryParse(longest + "b", out _, out var reason));
        Assert.Contains("over the limit of 2048", reason);
        Assert.False(SpiffeId.TryParse("spiffe://" + new string('a', 256), out _, out reason));
        Assert.Contains("over the limit of 255", reason);
    }

    [Theory]
    [InlineData("spiffe://d/site/paris/gateway/a", true)]
    [InlineData("spiffe://d/site/paris/workload/a", false)]
    [InlineData("spiffe://d/site/paris/gateway", false)]
    [InlineData("spiffe://d/site/paris/gateway/a/b", false)]
    [InlineData("spiffe://d", false)]
    public void Names_a_gateway_by_its_path(string text, bool names)
    {
        Assert.True(SpiffeId.TryParse(text, out var id, out _));
        Assert.Equal(names ? new GatewayId("d", "paris", "a") : null, id.AsGateway());
    }

    /// <summary>
    /// Whatever comes in, no exception, and what is accepted is what an independent reading of the standard accepts.
    /// </summary>
    [Fact]
    public void Fuzz()
    {
        var random = new Random(7);
        var standard = new System.Text.RegularExpressions.Regex(
            @"\Aspiffe://[a-z0-9._-]{1,255}(/(?!\.{1,2}(/|\z))[a-zA-Z0-9._-]+)*\z");
        var accepted = 0;
        for (var i = 0; i < 100_000; i++)
        {
            var text = new StringBuilder("spiffe://acme.example/site/paris/gateway/a");
            for (var edits = random.Next(4); edits > 0; edits--)
            {
                var at = random.Next(text.Length);
                switch (random.Next(3))
                {
                    case 0: text[at] = (char)random.Next(random.Next(2) == 0 ? 128 : 65536); break;
                    case 1: text.Insert(at, "./%?#:@_-A".AsSpan(random.Next(10), 1)); break;
                    default: text.Remove(at, Math.Min(random.Next(1, 8), text.Length - at)); break;
                }

                if (text.Length == 0)
                {
                    break;
                }
            }

            var ok = SpiffeId.TryParse(text.ToString(), out var id, out var reason);
            Assert.Equal(standard.IsMatch(text.ToString()), ok);
            Assert.Equal(ok, reason.Length == 0);
            Assert.True(reason.All(c => c is >= ' ' and < (char)127 or '…'));
            accepted += ok ? 1 : 0;
        }

        Assert.InRange(accepted, 10_000, 90_000);
    }
}
