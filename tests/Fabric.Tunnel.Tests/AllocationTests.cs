using System.Net.Sockets;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// Bytes that move cost the managed heap next to nothing, so that its collector seldom stops them. Both ends of the tunnel, the client and
/// the server are in this process, and all they allocate counts.
/// </summary>
public abstract class AllocationTests(TunnelDriver driver) : LeakFreeTests(driver)
{
    private const int MiB = 1 << 20;

    private readonly byte[] _out = new byte[256 * 1024];
    private readonly byte[] _in = new byte[256 * 1024];

    [Fact]
    public async Task Bulk_allocates_next_to_nothing()
    {
        const int Moved = 1_024;
        var pair = await PairAsync();
        var (client, server) = await pair.ConnectAsync();
        // Windows grow, slabs are made, code is compiled.
        await MoveAsync(client, server, 256 * MiB);
        var allocated = GC.GetTotalAllocatedBytes(precise: true);
        await MoveAsync(client, server, Moved * (long)MiB);
        allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;
        Assert.InRange(allocated / Moved, 0, MiB / 8);
    }

    [Fact]
    public async Task A_small_request_and_its_answer_allocate_next_to_nothing()
    {
        const int Requests = 5_000;
        var pair = await PairAsync();
        var (client, server) = await pair.ConnectAsync();
        await AskAsync(client, server, Requests);
        var allocated = GC.GetTotalAllocatedBytes(precise: true);
        await AskAsync(client, server, Requests);
        allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;
        Assert.InRange(allocated / Requests, 0, 4 * 1024);
    }

    private async Task MoveAsync(Socket from, Socket to, long bytes)
    {
        var receiving = ReceiveAsync(to, bytes);
        for (var left = bytes; left > 0;)
        {
            left -= await from.SendAsync(_out.AsMemory(0, (int)Math.Min(left, _out.Length)));
        }

        await receiving.WaitAsync(Pair.Limit);
    }

    private async Task AskAsync(Socket client, Socket server, int requests)
    {
        var answering = AnswerAsync(server, requests);
        for (var i = 0; i < requests; i++)
        {
            await client.SendAsync(_out.AsMemory(0, 100));
            await client.ReceiveAsync(_in.AsMemory(0, 100));
        }

        await answering.WaitAsync(Pair.Limit);
    }

    private static async Task AnswerAsync(Socket server, int requests)
    {
        var buffer = new byte[100];
        for (var i = 0; i < requests; i++)
        {
            await server.ReceiveAsync(buffer.AsMemory());
            await server.SendAsync(buffer.AsMemory());
        }
    }

    private async Task ReceiveAsync(Socket to, long bytes)
    {
        while (bytes > 0)
        {
            bytes -= await to.ReceiveAsync(_in.AsMemory());
        }
    }
}

public sealed class PortableAllocationTests() : AllocationTests(TunnelDriver.Portable);

public sealed class LinuxAllocationTests() : AllocationTests(TunnelDriver.Linux);
