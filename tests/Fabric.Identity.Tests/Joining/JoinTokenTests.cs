using System.Buffers.Text;
using System.Security.Cryptography;
using Fabric.Identity.Joining;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Tests.Joining;

public class JoinTokenTests
{
    [Fact]
    public void Round_trip()
    {
        using var mesh = new Mesh();
        var token = mesh.Ca.CreateToken("paris", "paris-a", TimeSpan.FromMinutes(5),
            ["10.0.0.1:7443", "[fd00::1]:7443", "gw.acme.example:443"]);
        var text = token.Format();
        Assert.Matches("^fab1\\.[A-Za-z0-9_-]+$", text);
        Assert.True(JoinToken.TryParse($" {text}\n", out var read, out var reason), reason);
        Assert.Equal(token.GatewayId, read.GatewayId);
        Assert.Equal((token.Expires, mesh.Time.GetUtcNow().AddMinutes(5)), (read.Expires, token.Expires));
        Assert.Equal(token.Addresses, read.Addresses);
        Assert.Equal([token.Id, token.Secret, mesh.Ca.RootFingerprint], new[] { read.Id, read.Secret, read.RootFingerprint });
    }

    [Fact]
    public void Shows_its_secret_only_where_asked()
    {
        using var mesh = new Mesh();
        var token = mesh.Ca.CreateToken("paris", "paris-a");
        var hex = Convert.ToHexStringLower(token.Secret);
        Assert.DoesNotContain(hex, token.ToString(), StringComparison.OrdinalIgnoreCase);
        foreach (var file in Directory.EnumerateFiles(mesh.Folder.Root, "*", SearchOption.AllDirectories))
        {
            var text = File.ReadAllText(file);
            Assert.DoesNotContain(hex, text, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain(Convert.ToBase64String(token.Secret), text);
            Assert.DoesNotContain(Base64Url.EncodeToString(token.Secret), text);
        }
    }

    [Theory]
    [InlineData(null, "begins with fab1.")]
    [InlineData("", "begins with fab1.")]
    [InlineData("fab2.abcd", "begins with fab1.")]
    [InlineData("fab1.", "damaged")]
    [InlineData("fab1.a b!", "characters")]
    [InlineData("fab1.AAAAAAAAAAAA", "damaged")]
    public void Rejects(string? text, string because)
    {
        Assert.False(JoinToken.TryParse(text, out _, out var reason));
        Assert.Contains(because, reason);
    }

    [Fact]
    public void Rejects_what_is_over_a_limit_or_not_by_the_rules_behind_a_right_checksum()
    {
        using var mesh = new Mesh();
        var text = mesh.Ca.CreateToken("paris", "paris-a").Format();
        Reject(p => p.Site = "a/b", "segment");
        Reject(p => p.TrustDomain = "Acme", "trust domain");
        Reject(p => p.Secret = ByteString.Empty, "malformed");
        Reject(p => p.Addresses.Add("nowhere"), "host:port");
        Reject(p => p.Addresses.Add(Enumerable.Repeat("h:1", 17)), "at most 16");
        Reject(p => p.Expires = long.MaxValue, "malformed");
        Assert.False(JoinToken.TryParse("fab1." + new string('A', 5000), out _, out var reason));
        Assert.Contains("at most 4096", reason);

        void Reject(Action<JoinTokenPayload> change, string because)
        {
            var payload = JoinTokenPayload.Parser.ParseFrom(Base64Url.DecodeFromChars(text.AsSpan(5))[..^4]);
            change(payload);
            var bytes = payload.ToByteArray();
            var changed = "fab1." + Base64Url.EncodeToString([.. bytes, .. SHA256.HashData(bytes)[..4]]);
            Assert.False(JoinToken.TryParse(changed, out _, out var why));
            Assert.Contains(because, why);
        }
    }

    [Fact]
    public void Fuzz()
    {
        using var mesh = new Mesh();
        var good = mesh.Ca.CreateToken("paris", "paris-a", null, ["h:1"]).Format();
        var payload = Base64Url.DecodeFromChars(good.AsSpan(5))[..^4];
        var random = new Random(5);
        for (var i = 0; i < 20_000; i++)
        {
            // Half: text changed anywhere. Half: the payload changed behind a right checksum, so that the parser meets it.
            string text;
            if (i % 2 == 0)
            {
                var characters = good.ToCharArray();
                characters[random.Next(characters.Length)] = (char)random.Next(1, 200);
                text = new string(characters, 0, random.Next(2) == 0 ? characters.Length : random.Next(characters.Length));
                Assert.True(!JoinToken.TryParse(text, out _, out var reason) ? reason.Length > 0 : text.Trim() == good);
            }
            else
            {
                var bytes = (byte[])payload.Clone();
                for (var edits = random.Next(1, 5); edits > 0; edits--)
                {
                    bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                }

                text = "fab1." + Base64Url.EncodeToString([.. bytes, .. SHA256.HashData(bytes)[..4]]);
                if (JoinToken.TryParse(text, out var token, out _))
                {
                    Assert.Equal((8, 32, 32), (token.Id.Length, token.Secret.Length, token.RootFingerprint.Length));
                    Assert.True(SpiffeId.TryParse(token.GatewayId.ToString(), out _, out _) || token.Site.Length > 1000);
                }
            }
        }
    }

    [Theory]
    [InlineData("h:1", true)]
    [InlineData("10.0.0.1:65535", true)]
    [InlineData("[::1]:7443", true)]
    [InlineData("::1:7443", false)]
    [InlineData("[h]:1", false)]
    [InlineData("h:0", false)]
    [InlineData("h:65536", false)]
    [InlineData("h:+1", false)]
    [InlineData("h", false)]
    [InlineData(":1", false)]
    [InlineData("a b:1", false)]
    public void Addresses_are_host_and_port(string text, bool ok) => Assert.Equal(ok, JoinToken.IsAddress(text));
}
