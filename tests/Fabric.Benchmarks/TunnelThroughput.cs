using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Fabric.Testing;
using Fabric.Tunnel;
using Fabric.Tunnel.Drivers;

namespace Fabric.Benchmarks;

/// <summary>
/// One GiB through a pair of tunnels on loopback: client, plain TCP, lane, plain TCP, server, all in this process.
/// <c>dotnet run -c Release --project tests/Fabric.Benchmarks -- tunnel [linux|portable]</c> prints GiB/s and CPU seconds per GiB.
/// </summary>
internal static class TunnelThroughput
{
    private const long Bytes = 1L << 30;

    public static async Task RunAsync(TunnelDriver driver, int rounds, int streams)
    {
        using var authority = new TestAuthority();
        var server = new TcpListener(IPAddress.Loopback, 0);
        server.Start();
        var there = new Fixed((IPEndPoint)server.LocalEndpoint);
        await using var alpha = Tunnel(authority.Gateway("alpha"), driver, there);
        await using var beta = Tunnel(authority.Gateway("beta"), driver, there);
        var any = new IPEndPoint(IPAddress.Loopback, 0);
        beta.Reconcile(new TunnelPlan { Listen = [any], Lanes = [new LanePlan("alpha", "lo", null)] });
        alpha.Reconcile(new TunnelPlan
        {
            Lanes = [new LanePlan("beta", "lo", beta.Status.Listeners[0].Address)],
            Services = [new ServiceListener("bulk", 1, any)],
        });
        while (alpha.Status.Sessions[0].ActiveLink is null)
        {
            await Task.Delay(10);
        }

        var address = alpha.Status.Listeners[0].Address;
        for (var round = 0; round < rounds; round++)
        {
            var process = Process.GetCurrentProcess();
            var (cpu, began, collections) = (process.TotalProcessorTime, Stopwatch.GetTimestamp(), GC.CollectionCount(0));
            await Task.WhenAll(Enumerable.Range(0, streams).Select(_ => OneAsync(address, server, Bytes / streams)));
            process.Refresh();
            var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            Console.WriteLine($"{streams} streams: {1 / seconds:0.00} GiB/s, {(process.TotalProcessorTime - cpu).TotalSeconds:0.00} CPU s/GiB "
                + $"(client and server included), {(GC.CollectionCount(0) - collections)} collections, {alpha.Status.BufferedBytes + beta.Status.BufferedBytes >> 10} KiB held");
        }

        server.Stop();
    }

    private static async Task OneAsync(IPEndPoint address, TcpListener server, long bytes)
    {
        using var client = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(address);
        using var accepted = await server.AcceptSocketAsync();
        var receiving = Task.Run(async () =>
        {
            var buffer = new byte[256 * 1024];
            var total = 0L;
            while (await accepted.ReceiveAsync(buffer) is var read && read > 0)
            {
                total += read;
            }

            return total;
        });
        var chunk = new byte[256 * 1024];
        for (var left = bytes; left > 0;)
        {
            left -= await client.SendAsync(chunk.AsMemory(0, (int)Math.Min(chunk.Length, left)));
        }

        client.Shutdown(SocketShutdown.Send);
        if (await receiving != bytes)
        {
            throw new InvalidOperationException("bytes were lost");
        }
    }

    private static GatewayTunnel Tunnel(TestIdentity identity, TunnelDriver driver, Fixed there) => new(new TunnelOptions
    {
        Identity = identity,
        Ingress = there,
        Egress = there,
        Time = TimeProvider.System,
        Random = new Random(1),
        Driver = driver,
    });

    private sealed class Fixed(IPEndPoint server) : IIngress, IEgress
    {
        public ValueTask<IngressPlan> PlanAsync(ServiceListener listener, IPEndPoint client, CancellationToken cancellationToken) =>
            new(new IngressPlan([new IngressRoute("beta", new StreamOpen("bulk", 1, ""))]));

        public void Ended(IngressPlan plan, StreamSummary summary)
        {
        }

        public ValueTask<EgressVerdict> DecideAsync(string? peer, StreamOpen open, CancellationToken cancellationToken) =>
            new(new EgressVerdict.Dial([server], TimeSpan.FromSeconds(2)));

        public void DialFailed(StreamOpen open, IPEndPoint endpoint, string reason)
        {
        }

        public void Ended(string? peer, StreamOpen open, StreamSummary summary)
        {
        }
    }
}
