using System.Buffers;
using System.Text;
using Fabric.Protocol.Http;
using Fabric.Tunnel;

namespace Fabric.Gateway.Egress.Http;

/// <summary>
/// Passes bodies on. Chunks are read and written anew, so that the other side sees their ends where they were seen here; what chunks may say
/// besides (extensions) is left out.
/// </summary>
internal static class Http1Body
{
    private const int CopySize = 32 * 1024;
    private const int Gathered = 8 * 1024;
    private const int LongestChunkLine = 1024;
    private const int MostTrailers = 16 * 1024;

    public static async Task PassAsync(HttpBody body, long length, HttpInput from, StreamEnd to, CancellationToken stopping)
    {
        switch (body)
        {
            case HttpBody.Length:
                await CopyAsync(from, to, length, stopping);
                break;
            case HttpBody.Chunked:
                await ChunksAsync(from, to, stopping);
                break;
            case HttpBody.UntilClose:
                await CopyAsync(from, to, null, stopping);
                break;
        }
    }

    /// <param name="length">Null: to the end.</param>
    public static async Task CopyAsync(HttpInput from, StreamEnd to, long? length, CancellationToken stopping)
    {
        byte[]? buffer = null;
        try
        {
            while (length is null or > 0)
            {
                buffer ??= ArrayPool<byte>.Shared.Rent(CopySize);
                var read = await from.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, length ?? buffer.Length)));
                if (read == 0)
                {
                    if (length is not null)
                    {
                        throw new IOException("it ended within a body");
                    }

                    return;
                }

                await to.WriteAsync(buffer.AsMemory(0, read), stopping);
                length -= read;
                if (read < buffer.Length / 2)
                {
                    // A body that comes in drops holds no buffer in between.
                    ArrayPool<byte>.Shared.Return(buffer);
                    buffer = null;
                }
            }
        }
        finally
        {
            if (buffer is not null)
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }

    private static async Task ChunksAsync(HttpInput from, StreamEnd to, CancellationToken stopping)
    {
        // Small chunks leave together, when no more of them are there.
        var output = new ArrayBufferWriter<byte>(256);
        while (true)
        {
            var size = await SizeAsync(from, to, output, stopping);
            if (size == 0)
            {
                await TrailersAsync(from, to, output, stopping);
                return;
            }

            output.Write(Encoding.ASCII.GetBytes($"{size:x}\r\n"));
            if (size <= Gathered)
            {
                for (var left = (int)size; left > 0;)
                {
                    if (from.Buffered.IsEmpty)
                    {
                        await FlushAsync(to, output, stopping);
                        await MoreAsync(from);
                    }

                    var take = Math.Min(left, from.Buffered.Length);
                    output.Write(from.Buffered.Span[..take]);
                    from.Take(take);
                    left -= take;
                }
            }
            else
            {
                await FlushAsync(to, output, stopping);
                await CopyAsync(from, to, size, stopping);
            }

            var (line, end) = await LineAsync(from, to, output, LongestChunkLine, stopping);
            if (!line.IsEmpty)
            {
                throw new HttpRefusedException(400, "a chunk is longer than its size");
            }

            from.Take(end);
            output.Write("\r\n"u8);
            if (output.WrittenCount > Gathered)
            {
                await FlushAsync(to, output, stopping);
            }
        }
    }

    private static async ValueTask<long> SizeAsync(HttpInput from, StreamEnd to, ArrayBufferWriter<byte> output, CancellationToken stopping)
    {
        var (line, take) = await LineAsync(from, to, output, LongestChunkLine, stopping);
        if (!HttpSyntax.TryReadChunkSize(line.Span, out var size))
        {
            throw new HttpRefusedException(400, "the size of a chunk is not a hexadecimal number");
        }

        from.Take(take);
        return size;
    }

    private static async ValueTask<(ReadOnlyMemory<byte> Line, int Take)> LineAsync(
        HttpInput from, StreamEnd to, ArrayBufferWriter<byte> output, int most, CancellationToken stopping)
    {
        if (!from.Buffered.Span.Contains((byte)'\n'))
        {
            await FlushAsync(to, output, stopping);
        }

        return await from.LineAsync(most);
    }

    private static async ValueTask MoreAsync(HttpInput from)
    {
        if (!await from.FillAsync())
        {
            throw new IOException("it ended within a body");
        }
    }

    private static async ValueTask FlushAsync(StreamEnd to, ArrayBufferWriter<byte> output, CancellationToken stopping)
    {
        if (output.WrittenCount > 0)
        {
            await to.WriteAsync(output.WrittenMemory, stopping);
            output.ResetWrittenCount();
        }
    }

    private static async Task TrailersAsync(HttpInput from, StreamEnd to, ArrayBufferWriter<byte> output, CancellationToken stopping)
    {
        output.Write("0\r\n"u8);
        var length = 0;
        while (true)
        {
            var (line, take) = await LineAsync(from, to, output, MostTrailers, stopping);
            if (!line.IsEmpty)
            {
                Http1Fields.CheckTrailer(line.Span);
            }

            output.Write(line.Span);
            output.Write("\r\n"u8);
            from.Take(take);
            if (line.IsEmpty)
            {
                await FlushAsync(to, output, stopping);
                return;
            }

            if ((length += take) > MostTrailers)
            {
                throw new HttpRefusedException(400, $"trailers are longer than {MostTrailers} bytes");
            }
        }
    }
}
