using System.Net.Sockets;
using BenchmarkDotNet.Attributes;
using Fabric.Tunnel;

namespace Fabric.Benchmarks;

/// <summary>
/// What the managed heap pays for bytes that move, on connections that are open: of both ends of the tunnel, client and server together.
/// <c>dotnet run -c Release --project tests/Fabric.Benchmarks -- memory</c>; the column Gen0 is collections in a thousand operations.
/// </summary>
[InProcess]
[MemoryDiagnoser]
public class TunnelMemory
{
    private const int BulkMiB = 256;
    private const int Requests = 1_000;
    private const int RequestBytes = 100;

    private readonly byte[] _out = new byte[256 * 1024];
    private readonly byte[] _in = new byte[256 * 1024];
    private TunnelPair _pair = null!;
    private Socket _client = null!;
    private Socket _server = null!;

    [Params(TunnelDriver.Linux, TunnelDriver.Portable)]
    public TunnelDriver Driver { get; set; }

    [GlobalSetup]
    public void Start()
    {
        // Within the process, nothing awaits what these return.
        _pair = TunnelPair.StartAsync(Driver).GetAwaiter().GetResult();
        (_client, _server) = _pair.ConnectAsync().GetAwaiter().GetResult();
    }

    [GlobalCleanup]
    public void Stop()
    {
        _client.Dispose();
        _server.Dispose();
        _pair.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }

    /// <summary>One MiB of a stream that moves as many as it can.</summary>
    [Benchmark(OperationsPerInvoke = BulkMiB)]
    public void MiBInBulk() => MoveAsync().GetAwaiter().GetResult();

    private async Task MoveAsync()
    {
        const long Bytes = (long)BulkMiB << 20;
        var receiving = ReceiveAsync(_server, Bytes);
        for (var left = Bytes; left > 0;)
        {
            left -= await _client.SendAsync(_out.AsMemory(0, (int)Math.Min(_out.Length, left)));
        }

        await receiving;
    }

    /// <summary>A request of 100 bytes and its answer.</summary>
    [Benchmark(OperationsPerInvoke = Requests)]
    public void Request() => AskAsync().GetAwaiter().GetResult();

    private async Task AskAsync()
    {
        var answering = AnswerAsync();
        for (var i = 0; i < Requests; i++)
        {
            await _client.SendAsync(_out.AsMemory(0, RequestBytes));
            await ReceiveAsync(_client, RequestBytes);
        }

        await answering;
    }

    private async Task AnswerAsync()
    {
        var answer = new byte[RequestBytes];
        for (var i = 0; i < Requests; i++)
        {
            await ReceiveAsync(_server, RequestBytes);
            await _server.SendAsync(answer.AsMemory());
        }
    }

    /// <summary>What comes is not looked at.</summary>
    private async ValueTask ReceiveAsync(Socket socket, long bytes)
    {
        while (bytes > 0)
        {
            bytes -= await socket.ReceiveAsync(_in.AsMemory(0, (int)Math.Min(_in.Length, bytes)));
        }
    }
}
