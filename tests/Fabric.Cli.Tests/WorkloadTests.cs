using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Authority;
using Fabric.Identity.Svid;

namespace Fabric.Cli.Tests;

/// <summary><c>fabric workload issue</c>, and what a gateway makes of its files.</summary>
public sealed class WorkloadTests : IDisposable
{
    private readonly string _dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;

    public void Dispose() => Directory.Delete(_dir, recursive: true);

    private string In(string path) => Path.Combine(_dir, path);

    private Task<(int Code, string Out, string Error)> Run(params string[] args) => Cli.RunAsync(args, _dir, TimeProvider.System);

    private Task<(int Code, string Out, string Error)> InitAsync() =>
        Run("init", "--dir", _dir, "--trust-domain", "acme.example", "--site", "paris", "--site", "virginia");

    [Fact]
    public async Task Writes_what_a_gateway_of_that_site_takes_and_no_other()
    {
        Assert.Equal(0, (await InitAsync()).Code);
        var (code, text, error) = await Run("workload", "issue", "paris/shop", "--ca", In("ca"), "--out", In("shop"), "--ttl", "2h");
        Assert.True(code == 0, error);
        Assert.StartsWith("spiffe://acme.example/site/paris/workload/shop until ", text);
        Assert.Equal(["bundle.pem", "shop.crt", "shop.key"], Directory.EnumerateFiles(In("shop")).Select(Path.GetFileName).Order());
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(In("shop/shop.key")));
        }

        using var leaf = X509Certificate2.CreateFromPemFile(In("shop/shop.crt"), In("shop/shop.key"));
        Assert.InRange(leaf.NotAfter.ToUniversalTime(), DateTime.UtcNow.AddMinutes(110), DateTime.UtcNow.AddMinutes(121));
        var sent = new X509Certificate2Collection();
        sent.ImportFromPemFile(In("shop/shop.crt"));
        var bundle = TrustBundle.FromPem(File.ReadAllText(In("shop/bundle.pem")));
        Assert.Equal("spiffe://acme.example/site/paris/workload/shop",
            SvidVerifier.VerifyWorkload(leaf, sent, "acme.example", "paris", bundle, DateTimeOffset.UtcNow).Workload?.ToString());
        Assert.Equal(SvidRejection.WorkloadOfAnotherSite,
            SvidVerifier.VerifyWorkload(leaf, sent, "acme.example", "virginia", bundle, DateTimeOffset.UtcNow).Rejection);
        Assert.Equal(SvidRejection.NotAGateway, SvidVerifier.Verify(leaf, sent, "acme.example", bundle, [], DateTimeOffset.UtcNow).Rejection);
    }

    [Theory]
    [InlineData("paris", "1h", 2, "'paris' is not SITE/NAME")]
    [InlineData("paris/a b", "1h", 2, "segment \"a b\" contains ' '")]
    [InlineData("paris/..", "1h", 2, "segment \"..\"")]
    [InlineData("paris/shop", "31d", 2, "at most 30 days")]
    [InlineData("rome/shop", "1h", 1, "root.key")]
    public async Task Says_what_is_wrong(string who, string ttl, int code, string message)
    {
        await InitAsync();
        Directory.CreateDirectory(In("away"));
        File.Move(In("ca/root.key"), In("away/root.key"));
        var refused = await Run("workload", "issue", who, "--ca", In("ca"), "--out", In("out"), "--ttl", ttl);
        Assert.True(refused.Code == code, refused.Error);
        Assert.Contains(message, refused.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(In("out")));
    }

    [Fact]
    public async Task Nothing_is_issued_for_a_site_that_was_evicted_nor_without_an_authority()
    {
        var nowhere = await Run("workload", "issue", "paris/shop", "--ca", In("none"), "--out", In("out"));
        Assert.Contains("there is no mesh authority", nowhere.Error, StringComparison.Ordinal);
        await InitAsync();
        TrustAuthority.Open(In("ca"), TimeProvider.System).Evict("paris");
        var evicted = await Run("workload", "issue", "paris/shop", "--ca", In("ca"), "--out", In("out"));
        Assert.Equal(1, evicted.Code);
        Assert.Contains("was evicted", evicted.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(In("out")));
    }
}
