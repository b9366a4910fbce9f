using System.Security.Cryptography;

namespace Fabric.Drills.Measurement;

/// <summary>What became of one download: how much came, whether it is what was sent, and how it paused.</summary>
/// <param name="ExpectedBytes">How many were to come.</param>
/// <param name="Sha256">Of what came: 64 hex digits in lower case.</param>
/// <param name="Intact">It ended of itself after exactly the expected bytes, with the expected hash if one was given.</param>
/// <param name="Error">Why the connection broke or was given up; null when it ended of itself.</param>
public sealed record HashedDownload(long ExpectedBytes, string Sha256, bool Intact, string? Error, StallSummary Stall)
{
    /// <summary>A pause after which a download is given up, unless told otherwise: 60 s.</summary>
    public static readonly TimeSpan DefaultPatience = TimeSpan.FromSeconds(60);

    public long BytesLost => Math.Max(0, ExpectedBytes - Stall.TotalBytes);

    public bool Dropped => Error is not null || BytesLost > 0;

    /// <summary>
    /// Reads <paramref name="source"/> to its end; it stays open. A connection that breaks is a result and no exception; so is
    /// a pause longer than <paramref name="patience"/>, and the first byte too many, where reading stops.
    /// </summary>
    /// <param name="expectedSha256">64 hex digits, or null when the content is not known.</param>
    public static async Task<HashedDownload> ReadAsync(
        Stream source,
        long expectedBytes,
        string? expectedSha256,
        TimeProvider time,
        TimeSpan? patience = null,
        CancellationToken cancellationToken = default)
    {
        var limit = patience ?? DefaultPatience;
        var started = time.GetTimestamp();
        var meter = new StallMeter(TimeSpan.Zero);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[64 * 1024];
        var left = expectedBytes;
        string? error = null;
        try
        {
            while (left >= 0)
            {
                using var pause = new CancellationTokenSource(limit, time);
                using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, pause.Token);
                var length = await ReadOnceAsync(source, buffer, either.Token, pause.Token, limit);
                if (length == 0)
                {
                    break;
                }

                meter.Arrived(time.GetElapsedTime(started), length);
                hash.AppendData(buffer, 0, length);
                left -= length;
            }
        }
        catch (IOException e)
        {
            error = e.Message;
        }

        var sha256 = Convert.ToHexStringLower(hash.GetHashAndReset());
        var isContent = expectedSha256 is null || string.Equals(expectedSha256, sha256, StringComparison.OrdinalIgnoreCase);
        return new HashedDownload(
            expectedBytes, sha256, error is null && left == 0 && isContent, error, meter.Until(time.GetElapsedTime(started)));
    }

    private static async ValueTask<int> ReadOnceAsync(
        Stream source, byte[] buffer, CancellationToken either, CancellationToken pause, TimeSpan limit)
    {
        try
        {
            return await source.ReadAsync(buffer, either);
        }
        catch (OperationCanceledException e) when (pause.IsCancellationRequested)
        {
            throw new IOException($"no byte came for {limit.TotalSeconds:0.###} s", e);
        }
    }
}
