using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Fabric.Lab.Trust;

/// <summary>
/// HTTP requests at a steady rate, over connections that are used for some of them and then closed. Nothing is tried twice: what fails is
/// counted, and told.
/// </summary>
public sealed class RequestLoad : IAsyncDisposable
{
    private const int Workers = 10;
    private const int PerConnection = 50;
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(20);
    private static readonly byte[] _request = Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\nHost: web.shop\r\n\r\n");
    private readonly CancellationTokenSource _enough = new();
    private readonly Stopwatch _since = Stopwatch.StartNew();
    private readonly ConcurrentQueue<string> _failures = new();
    private readonly Task[] _workers;
    private long _answered;

    /// <param name="expected">How every answer begins.</param>
    /// <param name="perSecond">Requests a second, of all connections together.</param>
    public RequestLoad(IPEndPoint address, string expected, int perSecond) => _workers =
        [.. Enumerable.Range(0, Workers).Select(_ => Task.Run(() => Run(address, expected, TimeSpan.FromSeconds((double)Workers / perSecond))))];

    public long Answered => Interlocked.Read(ref _answered);

    public double PerSecond => Answered / _since.Elapsed.TotalSeconds;

    public IReadOnlyCollection<string> Failures => _failures;

    /// <summary>Ends it, and waits for the last answers. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_enough.IsCancellationRequested)
        {
            await _enough.CancelAsync();
        }

        await Task.WhenAll(_workers);
        _enough.Dispose();
    }

    private async Task Run(IPEndPoint address, string expected, TimeSpan every)
    {
        var next = _since.Elapsed;
        while (!_enough.IsCancellationRequested)
        {
            try
            {
                using var client = new TcpClient { NoDelay = true };
                await client.ConnectAsync(address).WaitAsync(_patience);
                using var reader = new StreamReader(client.GetStream(), Encoding.ASCII);
                for (var i = 0; i < PerConnection && !_enough.IsCancellationRequested; i++)
                {
                    await client.GetStream().WriteAsync(_request).AsTask().WaitAsync(_patience);
                    var body = await Read(reader).WaitAsync(_patience);
                    if (!body.StartsWith(expected, StringComparison.Ordinal))
                    {
                        throw new IOException($"answered '{body.Trim()}'");
                    }

                    Interlocked.Increment(ref _answered);
                    next += every;
                    var wait = next - _since.Elapsed;
                    next = wait < TimeSpan.Zero ? _since.Elapsed : next;
                    await Task.Delay(wait > TimeSpan.Zero ? wait : TimeSpan.Zero);
                }
            }
            catch (Exception e) when (e is IOException or SocketException or TimeoutException)
            {
                _failures.Enqueue($"{DateTime.UtcNow:HH:mm:ss.fff} {e.Message}");
                await Task.Delay(every);
            }
        }
    }

    private static async Task<string> Read(StreamReader reader)
    {
        var status = await reader.ReadLineAsync() ?? throw new IOException("the connection ended before an answer");
        var length = 0;
        while (await reader.ReadLineAsync() is { } line)
        {
            if (line.Length == 0)
            {
                var body = new char[length];
                return status.Contains(" 200 ", StringComparison.Ordinal) && await reader.ReadBlockAsync(body) == length
                    ? new string(body) : throw new IOException($"answered {status}, or half");
            }

            length = line.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase)
                ? int.Parse(line["Content-Length:".Length..], CultureInfo.InvariantCulture) : length;
        }

        throw new IOException("the connection ended within an answer");
    }
}
