using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Fabric.Lab.Trust;

/// <summary>
/// Connections that stay, each of which sends a numbered line again and again and has to read it back before the next: what is lost, doubled
/// or altered shows at once, and so does a connection that ends.
/// </summary>
public sealed class StreamLoad : IAsyncDisposable
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(20);
    private readonly CancellationTokenSource _enough = new();
    private readonly Task[] _streams;
    private long _echoes;
    private int _ended;
    private int _wrong;
    private long _lastByte;
    private long _longest;

    private StreamLoad(IEnumerable<TcpClient> clients, TimeSpan pause) => _streams = [.. clients.Select((c, i) => Task.Run(() => Run(c, i, pause)))];

    public long Echoes => Interlocked.Read(ref _echoes);

    /// <summary>Connections that ended before they were told to.</summary>
    public int Ended => Volatile.Read(ref _ended);

    /// <summary>Lines that came back as others.</summary>
    public int Wrong => Volatile.Read(ref _wrong);

    /// <summary>Instant of <see cref="Stopwatch"/> at which the last byte came, on any of them.</summary>
    public long LastByte => Interlocked.Read(ref _lastByte);

    /// <summary>The longest time that a line took.</summary>
    public TimeSpan Longest => Stopwatch.GetElapsedTime(0, Interlocked.Read(ref _longest));

    /// <summary>All are connected, and have had an answer, when it returns.</summary>
    public static async Task<StreamLoad> Start(IPEndPoint address, int connections, TimeSpan pause)
    {
        var clients = await Task.WhenAll(Enumerable.Range(0, connections).Select(async i =>
        {
            var client = new TcpClient { NoDelay = true };
            await client.ConnectAsync(address).WaitAsync(_patience);
            return client;
        }));
        return new StreamLoad(clients, pause);
    }

    /// <summary>Ends it, and waits for the last answers. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_enough.IsCancellationRequested)
        {
            await _enough.CancelAsync();
        }

        await Task.WhenAll(_streams);
        _enough.Dispose();
    }

    private async Task Run(TcpClient client, int index, TimeSpan pause)
    {
        using (client)
        {
            var stream = client.GetStream();
            var answer = new byte[64];
            for (var number = 0; !_enough.IsCancellationRequested; number++)
            {
                var line = Encoding.ASCII.GetBytes($"stream {index}, line {number}".PadRight(answer.Length - 1) + "\n");
                var sent = Stopwatch.GetTimestamp();
                try
                {
                    await stream.WriteAsync(line).AsTask().WaitAsync(_patience);
                    await stream.ReadExactlyAsync(answer).AsTask().WaitAsync(_patience);
                }
                catch (Exception e) when (e is IOException or TimeoutException)
                {
                    Interlocked.Increment(ref _ended);
                    return;
                }

                Note(sent, line.AsSpan().SequenceEqual(answer));
                await Task.Delay(pause);
            }
        }
    }

    private void Note(long sent, bool isRight)
    {
        var now = Stopwatch.GetTimestamp();
        Interlocked.Increment(ref _echoes);
        Interlocked.Add(ref _wrong, isRight ? 0 : 1);
        Interlocked.Exchange(ref _lastByte, now);
        for (var longest = Interlocked.Read(ref _longest); now - sent > longest;)
        {
            longest = Interlocked.CompareExchange(ref _longest, now - sent, longest);
        }
    }
}
