namespace Fabric.Protocol.Tunnel;

/// <summary>A parsed frame, or a piece of a DATA frame. Valid until the next call of the reader.</summary>
public readonly ref struct Frame
{
    /// <summary>For a piece of DATA, length and offset are those of the piece.</summary>
    public FrameHeader Header { get; init; }

    public ReadOnlySpan<byte> Payload { get; init; }

    /// <summary>Where <see cref="Payload"/> begins in the input; for DATA, which is never copied, else −1.</summary>
    public int PayloadStart { get; init; }
}

/// <summary>
/// Cuts a lane's bytes into frames, however they arrive. A DATA frame is handed on in pieces as its bytes come, so it needs no
/// room here and waits for nobody; other frames are handed on whole, and put together in a buffer when they arrive in parts: of
/// <see cref="FrameHeader.MaxControl"/> bytes, or of <see cref="FrameHeader.MaxFrame"/> once a DATAGRAM needed it. Not
/// thread-safe; one per lane and direction.
/// </summary>
public sealed class FrameReader
{
    private byte[] _carry = new byte[FrameHeader.Size + FrameHeader.MaxControl];
    private int _carried;
    private FrameHeader _data;
    private int _dataLeft;

    /// <summary>
    /// Reads one frame, or one piece of DATA, from the front of <paramref name="input"/>. Returns false when it needs more
    /// input; then all of <paramref name="input"/> was consumed. Throws <see cref="FrameException"/> when the bytes break the
    /// protocol; the reader is then useless.
    /// </summary>
    public bool TryRead(ReadOnlySpan<byte> input, out int consumed, out Frame frame)
    {
        consumed = 0;
        frame = default;
        if (_dataLeft == 0)
        {
            if (!TryReadHeader(input, ref consumed, out var header))
            {
                return false;
            }

            if (header.Type != FrameType.Data)
            {
                return TryReadControl(header, input, ref consumed, out frame);
            }

            _carried = 0;
            _data = header;
            _dataLeft = header.Length;
        }

        var piece = Math.Min(_dataLeft, input.Length - consumed);
        if (piece == 0)
        {
            return false;
        }

        frame = new Frame
        {
            Header = _data with { Length = piece, Offset = _data.Offset + _data.Length - _dataLeft },
            Payload = input.Slice(consumed, piece),
            PayloadStart = consumed,
        };
        consumed += piece;
        _dataLeft -= piece;
        return true;
    }

    private bool TryReadHeader(ReadOnlySpan<byte> input, scoped ref int consumed, out FrameHeader header)
    {
        if (_carried == 0 && input.Length >= FrameHeader.Size)
        {
            header = FrameHeader.Read(input);
            if (header.Type == FrameType.Data)
            {
                consumed = FrameHeader.Size;
                return true;
            }
        }

        if (!Fill(FrameHeader.Size, input, ref consumed))
        {
            header = default;
            return false;
        }

        header = FrameHeader.Read(_carry);
        return true;
    }

    private bool TryReadControl(FrameHeader header, ReadOnlySpan<byte> input, scoped ref int consumed, out Frame frame)
    {
        frame = default;
        var whole = FrameHeader.Size + header.Length;
        if (_carry.Length < whole)
        {
            Array.Resize(ref _carry, FrameHeader.MaxFrame);
        }

        if (!Fill(whole, input, ref consumed))
        {
            return false;
        }

        _carried = 0;
        frame = new Frame { Header = header, Payload = _carry.AsSpan(FrameHeader.Size, header.Length), PayloadStart = -1 };
        return true;
    }

    private bool Fill(int wanted, ReadOnlySpan<byte> input, scoped ref int consumed)
    {
        var take = Math.Min(Math.Max(wanted - _carried, 0), input.Length - consumed);
        input.Slice(consumed, take).CopyTo(_carry.AsSpan(_carried));
        _carried += take;
        consumed += take;
        return _carried >= wanted;
    }
}
