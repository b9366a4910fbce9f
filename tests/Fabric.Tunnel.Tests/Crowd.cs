using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net.Sockets;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// Many connections at once. Each says its number first; then both its ends send bytes that are known by their hash, both ways at once,
/// each way ended by FIN.
/// </summary>
/// <param name="bytes">Of the connection with that number, each way.</param>
internal sealed class Crowd(Pair pair, Func<int, long> bytes) : IAsyncDisposable
{
    private readonly ConcurrentDictionary<int, TaskCompletionSource<(string Sent, string Received)>> _served = new();
    private readonly CancellationTokenSource _stop = new();
    private Task _accepting = Task.CompletedTask;
    private int _arrived;

    /// <summary>So many connections, none of which sends more than its number before all have arrived, and it was told that.</summary>
    public async Task TogetherAsync(int count, Action arrived)
    {
        var gathered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _accepting = AcceptAsync(gathered.Task);
        var coming = Task.WhenAll(Enumerable.Range(0, count).Select(n => ComeAsync(n, gathered.Task)));
        await Pair.Until(() => Volatile.Read(ref _arrived) == count || coming.IsFaulted, $"{count} connections");
        arrived();
        gathered.SetResult();
        await coming;
    }

    /// <summary>One after the other in each of so many rows, as long as it goes on. Returns how many there were.</summary>
    public async Task<int> InRowsAsync(int rows, Func<int, bool> goesOn)
    {
        _accepting = AcceptAsync(Task.CompletedTask);
        var count = 0;
        await Task.WhenAll(Enumerable.Range(0, rows).Select(async _ =>
        {
            while (goesOn(Volatile.Read(ref count)))
            {
                await ComeAsync(Interlocked.Increment(ref count) - 1, Task.CompletedTask);
            }
        }));
        return count;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _accepting);
        _stop.Dispose();
    }

    private async Task ComeAsync(int number, Task gathered)
    {
        using var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await client.ConnectAsync(pair.Service).WaitAsync(Pair.Limit);
        var hello = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(hello, number);
        await client.SendAsync(hello);
        var (sent, received) = await ExchangeAsync(client, number, 2 * number, gathered);
        var (back, there) = await Served(number).Task.WaitAsync(Pair.Limit);
        Assert.Equal((sent, back), (there, received));
    }

    private async Task AcceptAsync(Task gathered)
    {
        while (true)
        {
            _ = ServeAsync(await pair.Server.AcceptSocketAsync(_stop.Token), gathered);
        }
    }

    private async Task ServeAsync(Socket server, Task gathered)
    {
        using (server)
        {
            var hello = new byte[4];
            await using var stream = new NetworkStream(server);
            await stream.ReadExactlyAsync(hello);
            var number = BinaryPrimitives.ReadInt32LittleEndian(hello);
            Interlocked.Increment(ref _arrived);
            try
            {
                Served(number).SetResult(await ExchangeAsync(server, number, 2 * number + 1, gathered));
            }
            catch (Exception error)
            {
                Served(number).SetException(error);
            }
        }
    }

    /// <summary>What the server's end of that connection has come to.</summary>
    private TaskCompletionSource<(string Sent, string Received)> Served(int number) =>
        _served.GetOrAdd(number, static _ => new(TaskCreationOptions.RunContinuationsAsynchronously));

    private async Task<(string Sent, string Received)> ExchangeAsync(Socket socket, int number, int seed, Task gathered)
    {
        await gathered.WaitAsync(Pair.Limit);
        var count = bytes(number);
        // Thousands of them need no memory to speak of.
        var piece = (int)Math.Min(count, 64 * 1024);
        var sending = Traffic.SendAsync(socket, count, seed, piece);
        var (received, total) = await Traffic.ReceiveAsync(socket, piece: piece).WaitAsync(Pair.Limit);
        Assert.Equal(count, total);
        return (await sending.WaitAsync(Pair.Limit), received);
    }
}
