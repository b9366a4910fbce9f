using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;

using Fabric.Lab.Networks;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Workloads;

/// <summary>How a download went. The hash is of the last copy of the payload, as far as it came, or of the first one that was wrong; the expected one is of as many bytes.</summary>
public sealed record DownloadResult(int CurlExitCode, string CurlError, long Bytes, long Expected, string Sha256, string ExpectedSha256, int Connections, TimeSpan LongestPause)
{
    public bool Held => CurlExitCode == 0 && Connections == 1 && BytesLost == 0;

    /// <summary>Bytes that did not come; when all came and the hash is wrong, nothing of it can be trusted, and all count.</summary>
    public long BytesLost => Bytes < Expected ? Expected - Bytes : Sha256 == ExpectedSha256 ? 0 : Expected;

    public override string ToString() => $"curl exit {CurlExitCode} {CurlError}, {Bytes:N0} of {Expected:N0} bytes, sha256 {Sha256[..12]} (expected {ExpectedSha256[..12]}), "
        + $"{Connections} connections, longest pause {LongestPause.TotalMilliseconds:0} ms";
}

/// <summary>
/// The payload, fetched by curl over one connection, and measured as it comes out of curl: how many bytes, their hash, and the
/// longest time without any. Nothing slows it: the reader takes what there is.
/// </summary>
public sealed class Download : IAsyncDisposable
{
    private readonly Process _curl;
    private readonly Payload _payload;
    private readonly Task<string> _read;
    private readonly Task<string> _error;
    private readonly int _times;
    private readonly object _lock = new();
    // Since when nothing came; null before the first byte, and after the last.
    private long? _silentSince;
    private TimeSpan _longestPause;
    private long _received;
    private volatile Mark? _mark;
    private volatile bool _stopped;

    private Download(Process curl, Payload payload, int times)
    {
        (_curl, _payload, _times) = (curl, payload, times);
        _error = curl.StandardError.ReadToEndAsync();
        // A thread of its own: a pause must be the network's, not the thread pool's.
        _read = Task.Factory.StartNew(Read, TaskCreationOptions.LongRunning);
    }

    public long Received => Interlocked.Read(ref _received);

    /// <summary>Longest time without a byte since the first, or since <see cref="ForgetPauses"/>; one that is going on counts.</summary>
    public TimeSpan LongestPause
    {
        get
        {
            lock (_lock)
            {
                return Longer();
            }
        }
    }

    public bool IsRunning => !_read.IsCompleted;

    /// <param name="times">How often the payload is fetched, one after the other, over the same connection.</param>
    public static async Task<Download> Start(WorkFolder work, LabNetwork network, Payload payload, int times = 1)
    {
        string[] options = await network.CurlOptions(LabNetwork.Web, network.WebPort);
        // The range makes curl fetch it so many times; the query is nothing to nginx.
        var url = $"http://{LabNetwork.Web}:{network.WebPort}/big?[1-{times}]";
        var curl = Process.Start(Command.Info(network.AtShop(
            ["curl", "-sS", "--fail", "--no-buffer", .. options, "-w", "%{stderr}connections=%{num_connects}\\n", url])))!;
        work.Own(curl.Id);
        return new Download(curl, payload, times);
    }

    /// <summary>Waits until so many bytes have come: who reads them says so at once, for at a GiB a second a look every 20 ms is a late one.</summary>
    public async Task Reach(long bytes, TimeSpan limit)
    {
        var mark = _mark = new Mark(bytes);
        if (Received < bytes)
        {
            await Task.WhenAny(mark.Reached.Task, _read, Task.Delay(limit, Interruption.Token));
        }

        Interruption.Token.ThrowIfCancellationRequested();
        if (Received < bytes)
        {
            throw new LabException(_read.IsCompleted ? $"the download ended early: {await Finish(TimeSpan.Zero)}"
                : $"{bytes:N0} bytes of the download: not within {limit.TotalSeconds:0.#} s: {Received:N0} came");
        }
    }

    /// <summary>Counts pauses from now on only.</summary>
    public void ForgetPauses()
    {
        lock (_lock)
        {
            _longestPause = TimeSpan.Zero;
            _silentSince = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>Waits until it ends by itself.</summary>
    public async Task<DownloadResult> Finish(TimeSpan limit)
    {
        if (limit > TimeSpan.Zero)
        {
            await Poll.Until("the download to end", limit, () => Task.FromResult(!IsRunning), () => $"{Received:N0} bytes came, the last one {LongestPause.TotalSeconds:0.0} s ago");
        }

        var sha = await _read;
        await _curl.WaitForExitAsync();
        return Result(sha, await _error, _curl.ExitCode, _payload.Length * _times, await Expected(_payload.Length * _times));
    }

    /// <summary>Stops it on the way; what came until then must be right.</summary>
    public async Task<DownloadResult> StopHere()
    {
        _stopped = true;
        _curl.Kill();
        var sha = await _read;
        await _curl.WaitForExitAsync();
        return Result(sha, await _error, 0, Received, await Expected(Received));
    }

    public async ValueTask DisposeAsync()
    {
        if (!_curl.HasExited)
        {
            _curl.Kill();
        }

        await _read;
        _curl.Dispose();
    }

    private DownloadResult Result(string sha, string error, int exitCode, long expected, string expectedSha)
    {
        // One that was stopped may have been in the middle of a line.
        var lines = error[..(error.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var connections = lines.Where(l => l.StartsWith("connections=", StringComparison.Ordinal))
            .Sum(l => int.Parse(l["connections=".Length..], CultureInfo.InvariantCulture));
        return new DownloadResult(exitCode, string.Join(' ', lines.Where(l => !l.StartsWith("connections=", StringComparison.Ordinal))),
            // curl counts a connection when its transfer ends: of one that was stopped during the first, nothing is known but that it held.
            Received, expected, sha, expectedSha, _stopped ? Math.Max(1, connections) : connections, LongestPause);
    }

    private string Read()
    {
        var buffer = new byte[256 * 1024];
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var copy = "";
        string? wrong = null;
        var stream = _curl.StandardOutput.BaseStream;
        while (true)
        {
            var count = stream.Read(buffer);
            lock (_lock)
            {
                // How long the first byte takes is the request's time, and no pause.
                _longestPause = Longer();
                _silentSince = count == 0 ? null : Stopwatch.GetTimestamp();
                if (count == 0)
                {
                    break;
                }
            }

            // Each copy of the payload by itself.
            for (var rest = buffer.AsMemory(0, count); rest.Length > 0;)
            {
                var part = rest[..(int)Math.Min(rest.Length, _payload.Length - _received % _payload.Length)];
                hash.AppendData(part.Span);
                rest = rest[part.Length..];
                if (Interlocked.Add(ref _received, part.Length) % _payload.Length == 0)
                {
                    copy = Convert.ToHexStringLower(hash.GetHashAndReset());
                    wrong ??= copy == _payload.Sha256 ? null : copy;
                }
            }

            if (_mark is { } mark && _received >= mark.Bytes)
            {
                mark.Reached.TrySetResult();
            }
        }

        return wrong ?? (_received > 0 && _received % _payload.Length == 0 ? copy : Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    private sealed record Mark(long Bytes)
    {
        public TaskCompletionSource Reached { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private TimeSpan Longer() => _silentSince is { } since && Stopwatch.GetElapsedTime(since) is var pause && pause > _longestPause ? pause : _longestPause;

    /// <summary>Hash of the last copy, when that many bytes have come in all.</summary>
    private async Task<string> Expected(long bytes)
    {
        if (bytes > 0 && bytes % _payload.Length == 0)
        {
            return _payload.Sha256;
        }

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[1 << 20];
        await using var file = File.OpenRead(_payload.Path);
        for (var left = bytes % _payload.Length; left > 0;)
        {
            var count = await file.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, left)));
            hash.AppendData(buffer, 0, count);
            left -= count;
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
