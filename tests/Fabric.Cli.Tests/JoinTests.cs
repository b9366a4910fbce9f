using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;

namespace Fabric.Cli.Tests;

/// <summary><c>fabric join</c> over a real socket, against a gateway that serves the authority as fabricd does.</summary>
public sealed class JoinTests : IDisposable
{
    private readonly string _dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;

    public void Dispose() => Directory.Delete(_dir, recursive: true);

    [Fact]
    public async Task Joins_and_writes_the_topology()
    {
        Assert.Equal(0, (await Run("init", "--dir", _dir, "--trust-domain", "acme.example", "--site", "paris", "--site",
            "virginia")).Code);
        var own = await Run("token", "create", "paris/paris-1");
        Assert.Equal(0, (await Run("join", own.Out.Trim(), "--ca", In("ca"))).Code);
        await using var server = new Authority(In("ca"), In("state/identity"), "fabric.yaml",
            File.ReadAllText(In("topology/fabric.yaml")));
        var token = await Run("token", "create", "virginia/virginia-1", "--via", "127.0.0.1:1", "--via", server.Address);
        Assert.True(token.Code == 0, token.Error);

        File.WriteAllText(In("token"), token.Out);
        var joined = await Run("join", "--token-file", In("token"), "--state", In("v"), "--topology", In("v/topology"));

        Assert.True(joined.Code == 0, joined.Error);
        Assert.Equal("", joined.Out);
        Assert.Contains("Joined as spiffe://acme.example/site/virginia/gateway/virginia-1", joined.Error);
        Assert.Equal(File.ReadAllText(In("topology/fabric.yaml")), File.ReadAllText(In("v/topology/fabric.yaml")));
        Assert.Equal(0, (await Run("validate", In("v/topology"))).Code);
        var identity = GatewayIdentity.Load(new GatewayKeyStore(In("v/identity")), TimeProvider.System);
        Assert.Equal("paris-1", identity.Authority!.Gateway.Gateway);

        var again = await Run("join", token.Out.Trim(), "--state", In("w"));
        Assert.Equal(1, again.Code);
        Assert.Contains("has been used", again.Error);
    }

    [Theory]
    [InlineData("../evil.yaml")]
    [InlineData("/etc/evil.yaml")]
    [InlineData(".hidden.yaml")]
    [InlineData("evil.sh")]
    public async Task A_topology_with_an_odd_file_name_is_not_written(string name)
    {
        await Run("init", "--dir", _dir, "--trust-domain", "acme.example", "--site", "paris", "--site", "virginia");
        await Run("join", (await Run("token", "create", "paris/paris-1")).Out.Trim(), "--ca", In("ca"));
        await using var server = new Authority(In("ca"), In("state/identity"), name, "x");
        var token = await Run("token", "create", "virginia/virginia-1", "--via", server.Address);
        var joined = await Run("join", token.Out.Trim(), "--state", In("v"), "--topology", In("v/topology"));
        Assert.Equal(1, joined.Code);
        Assert.Contains("none was written", joined.Error);
        Assert.False(Directory.Exists(In("v/topology")));
    }

    [Fact]
    public async Task Nobody_there_is_exit_code_4()
    {
        await Run("init", "--dir", _dir, "--trust-domain", "acme.example", "--site", "paris", "--site", "virginia");
        var token = await Run("token", "create", "virginia/virginia-1", "--via", "127.0.0.1:1");
        var joined = await Run("join", token.Out.Trim(), "--state", In("v"));
        Assert.Equal(4, joined.Code);
        Assert.Contains("127.0.0.1:1", joined.Error);
        Assert.DoesNotContain(token.Out.Trim(), joined.Error);
        Assert.False(Directory.Exists(In("v")));
    }

    private string In(string path) => Path.Combine(_dir, path);

    private Task<(int Code, string Out, string Error)> Run(params string[] args) => Cli.RunAsync(args, _dir, TimeProvider.System);

    private sealed class Authority : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly Task _accepting;

        public Authority(string ca, string identity, string name, string text)
        {
            _listener.Start();
            _accepting = Accept(GatewayIdentity.Load(new GatewayKeyStore(identity), TimeProvider.System),
                new JoinServer(MeshCa.Open(ca, TimeProvider.System), () => [(name, text)], TimeProvider.System));
        }

        public string Address => _listener.LocalEndpoint.ToString()!;

        public async ValueTask DisposeAsync()
        {
            _listener.Stop();
            await _accepting;
        }

        private async Task Accept(GatewayIdentity self, JoinServer server)
        {
            try
            {
                while (true)
                {
                    using var client = await _listener.AcceptTcpClientAsync();
                    await using var tls = new SslStream(client.GetStream());
                    await tls.AuthenticateAsServerAsync(MeshTls.Server(self, anonymous: true, JoinServer.Protocol));
                    await server.ServeAsync(tls, MeshTls.PeerOf(tls, self), default);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                server.Dispose();
            }
        }
    }
}
