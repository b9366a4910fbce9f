using System.Buffers;
using Fabric.Protocol.Http;
using Fabric.Tunnel;

namespace Fabric.Gateway.Egress.Http;

/// <summary>What one end sent and nobody took yet: at most one head. While nothing is there, it holds no memory.</summary>
internal sealed class HttpInput(StreamEnd end, CancellationToken stopping) : IDisposable
{
    private const int First = 16 * 1024;

    private byte[]? _buffer;
    private int _from;
    private int _to;
    private Task<bool>? _filling;

    public ReadOnlyMemory<byte> Buffered => _buffer is null ? default : _buffer.AsMemory(_from, _to - _from);

    public void Take(int count)
    {
        _from += count;
        if (_filling is { IsCompletedSuccessfully: true, Result: true })
        {
            // What it brought was seen.
            _filling = null;
        }

        if (_from == _to && _buffer is not null && _filling is null)
        {
            Release();
        }
    }

    /// <summary>
    /// Waits for more; false at the end. One that is under way is not begun again: so one can wait for it beside something else, and go on later
    /// with <see cref="FillAsync"/>. While it is, nothing is taken. Throws <see cref="HttpRefusedException"/> when a head's worth is buffered.
    /// </summary>
    public Task<bool> Filling => _filling ??= ReadAsync();

    /// <summary>Whether a wait was begun that <see cref="FillAsync"/> has not ended.</summary>
    public bool IsFilling => _filling is not null;

    public async ValueTask<bool> FillAsync()
    {
        var filled = await Filling;
        _filling = null;
        return filled;
    }

    /// <summary>Reads straight into the buffer of who wants it, what is buffered first; 0 at the end.</summary>
    public ValueTask<int> ReadAsync(Memory<byte> buffer)
    {
        if (_from < _to)
        {
            var take = Math.Min(buffer.Length, _to - _from);
            Buffered[..take].CopyTo(buffer);
            Take(take);
            return new(take);
        }

        return _filling is null ? end.ReadAsync(buffer, stopping) : AfterFillingAsync(buffer);
    }

    /// <summary>One line, without its CRLF; it is taken with it when the next one is asked for.</summary>
    /// <param name="most">Bytes that it may have. Longer ones are refused.</param>
    /// <returns>The line and how much to take for it.</returns>
    public async ValueTask<(ReadOnlyMemory<byte> Line, int Take)> LineAsync(int most)
    {
        while (true)
        {
            var end = Buffered.Span.IndexOf((byte)'\n');
            if (end > most || (end < 0 && Buffered.Length > most))
            {
                throw new HttpRefusedException(400, $"a line within a body is longer than {most} bytes");
            }

            if (end == 0 || (end > 0 && Buffered.Span[end - 1] != '\r'))
            {
                throw new HttpRefusedException(400, "a line within a body does not end with CRLF");
            }

            if (end > 0)
            {
                return (Buffered[..(end - 1)], end + 1);
            }

            if (!await FillAsync())
            {
                throw new IOException("it ended within a body");
            }
        }
    }

    public void Dispose()
    {
        // A read that is under way keeps its buffer.
        if (_filling is null or { IsCompleted: true })
        {
            Release();
        }
    }

    private async ValueTask<int> AfterFillingAsync(Memory<byte> buffer) => await FillAsync() ? await ReadAsync(buffer) : 0;

    private async Task<bool> ReadAsync()
    {
        if (_buffer is null)
        {
            await end.ReadAsync(Memory<byte>.Empty, stopping);
            _buffer = ArrayPool<byte>.Shared.Rent(First);
        }
        else if (_from > 0)
        {
            Buffered.CopyTo(_buffer);
            (_from, _to) = (0, _to - _from);
        }

        if (_to == _buffer.Length)
        {
            if (_to >= Http1Fields.MaxBytes)
            {
                throw new HttpRefusedException(431, $"a head is longer than {Http1Fields.MaxBytes} bytes");
            }

            var larger = ArrayPool<byte>.Shared.Rent(_to * 2);
            Buffered.CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = larger;
        }

        var read = await end.ReadAsync(_buffer.AsMemory(_to), stopping);
        _to += read;
        return read > 0;
    }

    private void Release()
    {
        if (_buffer is not null)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
        }

        (_buffer, _from, _to) = (null, 0, 0);
    }
}
