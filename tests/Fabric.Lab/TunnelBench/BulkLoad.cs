using System.Diagnostics;
using System.Net;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>Streams that are read as fast as they come, or at a limited rate; each by a thread of its own, without copying.</summary>
internal sealed class BulkLoad : IDisposable
{
    private const int Chunk = 1 << 20;

    /// <summary>What a limited stream reads at least: byte by byte as they become due, its reader would take a core for itself.</summary>
    private const int Least = 64 << 10;

    private readonly int[] _streams;
    private readonly Thread[] _threads;
    private long _bytes;
    private volatile bool _stopping;
    private volatile bool _ended;

    /// <param name="bytesPerSecond">Of all streams together; 0 for as fast as they come.</param>
    public BulkLoad(IPEndPoint address, int streams, double bytesPerSecond = 0)
    {
        _streams = [.. Enumerable.Range(0, streams).Select(_ => Open(address))];
        _threads = [.. _streams.Select(fd => new Thread(() => Read(fd, bytesPerSecond / streams)) { Name = "bulk load", IsBackground = true })];
        Array.ForEach(_threads, t => t.Start());
    }

    /// <summary>Bytes that have come.</summary>
    public long Bytes => _ended ? throw new LabException("a bulk stream ended early") : Interlocked.Read(ref _bytes);

    /// <summary>Reads the beginning of one stream, and compares every byte.</summary>
    public static void Verify(IPEndPoint address, long bytes)
    {
        var fd = Open(address);
        try
        {
            var buffer = new byte[64 * 1024];
            for (long offset = 0; offset < bytes;)
            {
                var count = Libc.Receive(fd, buffer, 0);
                if (count <= 0)
                {
                    throw new LabException("a bulk stream ended early");
                }

                for (var i = 0; i < count; i++)
                {
                    if (buffer[i] != LoadServer.At(offset + i))
                    {
                        throw new LabException($"a bulk stream is wrong at offset {offset + i:N0}");
                    }
                }

                offset += count;
            }
        }
        finally
        {
            Libc.close(fd);
        }
    }

    public void Dispose()
    {
        _stopping = true;
        Array.ForEach(_streams, Libc.Shutdown);
        Array.ForEach(_threads, t => t.Join());
        Array.ForEach(_streams, fd => Libc.close(fd));
    }

    private static int Open(IPEndPoint address)
    {
        var fd = Libc.Connect(Libc.Native(address));
        return Libc.Send(fd, LoadServer.Request(bulk: true)) ? fd : throw Libc.Failure("send");
    }

    private void Read(int fd, double bytesPerSecond)
    {
        // What a stream did not get for long is not made up for: that would be full speed again.
        var arrears = Math.Max(Chunk, (long)(bytesPerSecond / 10));
        var started = Stopwatch.GetTimestamp();
        for (long taken = 0; !_stopping;)
        {
            long allowed = Chunk;
            if (bytesPerSecond > 0)
            {
                var due = (long)(bytesPerSecond * Stopwatch.GetElapsedTime(started).TotalSeconds);
                taken = Math.Max(taken, due - arrears);
                allowed = due - taken;
            }

            if (allowed < Least)
            {
                Thread.Sleep(1);
                continue;
            }

            var count = Libc.Discard(fd, (int)Math.Min(allowed, Chunk));
            if (count <= 0)
            {
                _ended = !_stopping;
                return;
            }

            taken += count;
            Interlocked.Add(ref _bytes, count);
        }
    }
}
