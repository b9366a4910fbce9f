using Fabric.Cli.BugReports;
using Fabric.Testing;

namespace Fabric.Cli.Tests;

/// <summary>One file with what is needed to see what a gateway sees, and nothing that has to stay secret.</summary>
[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class BugReportTests : IDisposable
{
    private readonly string _dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;

    private string Archive => Path.Combine(_dir, "report.tar.gz");

    public void Dispose() => Directory.Delete(_dir, recursive: true);

    [Fact]
    public async Task Holds_what_the_gateway_sees_its_topology_and_its_audit_log()
    {
        await using var gateway = await FakeGateway.StartAsync(Path.Combine(_dir, "fabricd.sock"));
        Write("topology/fabric.yaml", "fabric: 1\n# joined with fab1.AAAAsecretsecretsecret\nsites: nonsense\n");
        Write("topology/notes.txt", "not a topology");
        Write("state/audit.log", "{\"verdict\":\"deny\"}\n");
        Write("state/identity/gateway.key", "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n");

        var (code, text, error) = await Run();
        Assert.Equal((0, Archive + "\n"), (code, text));
        Assert.Contains("left out because they look like secrets: ", error);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Archive));

        var parts = TarGz.Read(Archive);
        Assert.Contains("\"gateway\": \"paris-1\"", parts["status.json"]);
        Assert.Contains("paris-1", parts["status.txt"]);
        Assert.Contains("fab1.[left out]", parts["topology.yaml"]);
        Assert.DoesNotContain("secretsecret", parts["topology.yaml"]);
        Assert.DoesNotContain("not a topology", parts["topology.yaml"]);
        Assert.Contains("error FAB", parts["findings.txt"]);
        Assert.Equal("{\"verdict\":\"deny\"}\n", parts["audit.log"]);
        Assert.DoesNotContain(parts.Values, p => p.Contains("MIGH", StringComparison.Ordinal));
        Assert.Matches("topology.yaml +the topology, one file after the other; .* looked like a secret: 1\n", parts["contents.txt"]);
    }

    [Fact]
    public async Task Tells_what_it_could_not_get_and_goes_on()
    {
        var (code, _, error) = await Run();
        Assert.Equal(0, code);
        Assert.Contains("read it before you pass it on", error);
        var parts = TarGz.Read(Archive);
        Assert.Matches("status.json +what the gateway sees: missing, because cannot reach the gateway", parts["contents.txt"]);
        Assert.Matches("topology.yaml .*missing, because there is no topology at", parts["contents.txt"]);
        Assert.Matches("audit.log .*missing, because", parts["contents.txt"]);
        Assert.Contains("fabric 0.", parts["host.txt"]);
        Assert.False(parts.ContainsKey("audit.log"));
    }

    [Fact]
    public async Task Leaves_a_file_that_is_there_as_it_is()
    {
        File.WriteAllText(Archive, "mine");
        var (code, text, error) = await Run();
        Assert.Equal((1, ""), (code, text));
        Assert.Contains(Archive, error);
        Assert.Equal("mine", File.ReadAllText(Archive));
    }

    [Theory]
    [InlineData("a\n-----BEGIN EC PRIVATE KEY-----\nMHc-CAQ\n-----END EC PRIVATE KEY-----\nb", "a\n[left out]\nb", 1)]
    [InlineData("a\n-----BEGIN PRIVATE KEY-----\nMHcCAQ\n", "a\n[left out]", 1)]
    [InlineData("fabric join fab1.Ab-_9 and fab1.B", "fabric join fab1.[left out] and fab1.[left out]", 2)]
    [InlineData("token hvs.CAESIJ-x here", "token [left out] here", 1)]
    [InlineData("Authorization: Bearer eyJhbGci.eyJzdWIi.c2ln\nnext", "Authorization: [left out]\nnext", 1)]
    [InlineData("jwt eyJhbGci.eyJzdWIi.c2ln.", "jwt [left out].", 1)]
    [InlineData("endpoint: https://user:pa@collector:4317/v1", "endpoint: https://[left out]@collector:4317/v1", 1)]
    [InlineData("PrivateKey = aGVsbG8=\nPublicKey = d29ybGQ=", "PrivateKey = [left out]\nPublicKey = d29ybGQ=", 1)]
    [InlineData("  private key: (hidden)\n", "  private key: (hidden)\n", 0)]
    [InlineData("x-vault-token: abc, api_key=\"d e\"", "x-vault-token: [left out], api_key=[left out]", 2)]
    [InlineData("{ tokenFile: vault/token, keys: 3, caller: spiffe://lab.example/site/paris }", "{ tokenFile: vault/token, keys: 3, caller: spiffe://lab.example/site/paris }", 0)]
    [InlineData("spiffe://lab.example/site/paris calls web.shop", "spiffe://lab.example/site/paris calls web.shop", 0)]
    public void What_looks_like_a_secret_is_left_out(string text, string expected, int leftOut) =>
        Assert.Equal((expected, leftOut), Redaction.Clean(text));

    private Task<(int Code, string Out, string Error)> Run() => Cli.RunAsync(["bugreport", "--file", Archive], _dir, TimeProvider.System);

    private void Write(string path, string text)
    {
        path = Path.Combine(_dir, path);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }
}
