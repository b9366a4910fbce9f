using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// Real daemons at the most talkative level, through joining, renewal, their failures, and reloads: nothing that they write, show or are started with holds
/// a key, a token, or a part of one.
/// </summary>
[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class SecretsTests
{
    private static readonly TimeSpan _age = TimeSpan.FromHours(20);

    [Fact]
    public async Task No_secret_is_written_shown_or_passed_on()
    {
        // Certificates are renewed at half of their day: these are due at once.
        await using var fabric = LoopbackFabric.Joined(new Earlier());
        await using var paris = await DaemonProcess.StartAsync(fabric.Options(LoopbackFabric.Paris));
        await using var virginia = await DaemonProcess.StartAsync(fabric.Options(LoopbackFabric.Virginia) with { Ca = null });

        // Joining over the network, renewal likewise, and a token that is used twice.
        var ca = MeshCa.Open(fabric.CaFolder, TimeProvider.System);
        var token = ca.CreateToken("factory", LoopbackFabric.Factory, addresses: [fabric.PortOf(LoopbackFabric.Paris).ToString()]);
        var store = new GatewayKeyStore(fabric.State("joined", "identity"));
        await JoinClient.JoinAsync(token, DialAsync, store, TimeProvider.System, default).WaitAsync(Wait.Limit);
        await Assert.ThrowsAsync<JoinException>(() => JoinClient.JoinAsync(
            token, DialAsync, new GatewayKeyStore(fabric.State("twice", "identity")), TimeProvider.System, default).WaitAsync(Wait.Limit));
        var own = GatewayIdentity.Load(store, TimeProvider.System);
        using (var next = ECDsa.Create(ECCurve.NamedCurves.nistP256))
        {
            await JoinClient.RenewAsync(own, MeshCa.Request(next), DialAsync, TimeProvider.System, default).WaitAsync(Wait.Limit);
        }

        // A gateway whose session with paris has keys that this process knows.
        await using var peer = await HostileGateway.StartAsync(fabric, store.Folder, null, LoopbackFabric.Paris);
        await Wait.UntilAsync(() => peer.Tunnel.Status.Sessions.Any(s => s.Lanes.Any(l => l.State == LaneState.Up)), () => "a lane to paris is up");
        var session = peer.Tunnel.Status.Sessions.Single(s => s.Peer == LoopbackFabric.Paris);

        fabric.Write(fabric.Topology() + "# again\n");
        await paris.Admin.ReloadAsync();
        fabric.Write(fabric.Topology() + "nonsense: true\n");
        await Wait.UntilAsync(() => paris.Says("Topology refused"), () => "the bad topology is refused");
        await Wait.UntilAsync(() => paris.Says("Certificate renewed"), () => "paris was renewed");
        await Wait.UntilAsync(() => virginia.Says("Certificate not renewed"), () => "virginia was not, without an authority");
        await Wait.UntilAsync(() => paris.Says("asked to join or renew: granted"), () => "joins are logged");

        var secrets = Secrets.Below(fabric.CaFolder).Concat(fabric.States.SelectMany(Secrets.Below)).ToList();
        Assert.True(secrets.Count >= 5, $"only {secrets.Count} keys found");
        secrets.AddRange([token.Secret, [.. session.ProbeKeyToPeer], [.. session.ProbeKeyFromPeer]]);
        var shapes = secrets.SelectMany(Secrets.Shapes).Append(token.Format()).ToList();
        Assert.All(shapes, s => Assert.True(s.Length >= 16, s));

        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        var told = new List<(string Where, string Text)>();
        foreach (var (name, daemon) in new[] { (LoopbackFabric.Paris, paris), (LoopbackFabric.Virginia, virginia) })
        {
            told.Add(($"log of {name}", string.Join('\n', daemon.Lines)));
            told.Add(($"arguments of {name}", daemon.CommandLine));
            told.Add(($"status of {name}", (await daemon.Admin.StatusAsync()).ToString()));
            told.Add(($"metrics of {name}", await http.GetStringAsync($"http://{fabric.MetricsOf(name)}/metrics")));
            told.Add(($"status.json of {name}", await http.GetStringAsync($"http://{fabric.MetricsOf(name)}/status.json")));
        }

        told.AddRange(fabric.States.Select(s => Path.Combine(s, "audit.log")).Where(File.Exists).Select(f => (f, File.ReadAllText(f))));
        Assert.All(told, t => Assert.DoesNotContain(shapes, s => t.Text.Contains(s, StringComparison.OrdinalIgnoreCase)));
        Assert.All(told, t => Assert.DoesNotContain("PRIVATE KEY", t.Text, StringComparison.Ordinal));

        // And the search finds what it looks for.
        var planted = $"log line with {Convert.ToHexString(token.Secret)} in it";
        Assert.Contains(shapes, s => planted.Contains(s, StringComparison.OrdinalIgnoreCase));
    }

    private static async Task<Stream> DialAsync(string address, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(System.Net.IPEndPoint.Parse(address), cancellationToken);
        return new NetworkStream(socket, ownsSocket: true);
    }

    private sealed class Earlier : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() - _age;
    }
}
