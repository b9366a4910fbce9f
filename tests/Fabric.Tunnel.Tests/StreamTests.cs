using System.Net.Sockets;
using System.Text;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

public abstract class StreamTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task Bytes_go_both_ways_and_arrive_whole()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        var up = Traffic.SendAsync(client, 20_000_000, 1);
        var down = Traffic.SendAsync(server, 10_000_000, 2);
        var atServer = await Traffic.ReceiveAsync(server).WaitAsync(Pair.Limit);
        var atClient = await Traffic.ReceiveAsync(client).WaitAsync(Pair.Limit);
        Assert.Equal((await up, 20_000_000), atServer);
        Assert.Equal((await down, 10_000_000), atClient);
        await Pair.Until(() => !pair.Alpha.IngressEnded.IsEmpty && !pair.Beta.EgressEnded.IsEmpty, "summaries");
        pair.Alpha.IngressEnded.TryDequeue(out var summary);
        Assert.Equal((StreamCode.Ok, 20_000_000, 10_000_000), (summary!.Code, summary.BytesToEndpoint, summary.BytesToClient));
        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");
    }
}

public sealed class PortableStreamTests() : StreamTests(TunnelDriver.Portable);

public sealed class LinuxStreamTests() : StreamTests(TunnelDriver.Linux);
