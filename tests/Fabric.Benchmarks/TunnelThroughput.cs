using System.Diagnostics;
using System.Net.Sockets;
using Fabric.Tunnel;

namespace Fabric.Benchmarks;

/// <summary>
/// One GiB through a <see cref="TunnelPair"/>.
/// <c>dotnet run -c Release --project tests/Fabric.Benchmarks -- tunnel [linux|portable]</c> prints GiB/s and CPU seconds per GiB.
/// </summary>
internal static class TunnelThroughput
{
    private const long Bytes = 1L << 30;

    public static async Task RunAsync(TunnelDriver driver, int rounds, int streams)
    {
        await using var pair = await TunnelPair.StartAsync(driver);
        for (var round = 0; round < rounds; round++)
        {
            var process = Process.GetCurrentProcess();
            var (cpu, began, collections) = (process.TotalProcessorTime, Stopwatch.GetTimestamp(), GC.CollectionCount(0));
            await Task.WhenAll(Enumerable.Range(0, streams).Select(_ => OneAsync(pair, Bytes / streams)));
            process.Refresh();
            var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            Console.WriteLine($"{streams} streams: {1 / seconds:0.00} GiB/s, {(process.TotalProcessorTime - cpu).TotalSeconds:0.00} CPU s/GiB "
                + $"(client and server included), {(GC.CollectionCount(0) - collections)} collections, {pair.Held >> 10} KiB held");
        }
    }

    private static async Task OneAsync(TunnelPair pair, long bytes)
    {
        var (client, accepted) = await pair.ConnectAsync();
        using (client)
        using (accepted)
        {
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
    }
}
