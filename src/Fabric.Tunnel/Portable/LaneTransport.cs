using System.Net.Sockets;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Portable;

/// <summary>
/// What lies between TLS and the bytes of a lane, which are a socket's, or a stream's through a relay: many TLS records leave
/// in one send and arrive in one receive, and a link that is cut by <see cref="ILinkFaults"/> holds its bytes here. One reader and
/// one writer at a time.
/// </summary>
internal sealed class LaneTransport(Stream inner, Socket? socket) : Stream
{
    private const int Size = 128 * 1024;

    private readonly byte[] _in = GC.AllocateUninitializedArray<byte>(Size, pinned: true);
    private readonly byte[] _out = GC.AllocateUninitializedArray<byte>(Size, pinned: true);
    private int _inStart;
    private int _inEnd;
    private int _outEnd;
    private bool _abandoned;
    private long _sendProgress;
    private volatile bool _isSending;
    private ILinkFaults? _faults;
    private string _peer = "";
    private string _link = "";
    private volatile TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Over a connected socket, which it owns.</summary>
    public LaneTransport(Socket socket)
        : this(new NetworkStream(socket, ownsSocket: true), socket)
    {
    }

    /// <summary>Through a relay.</summary>
    public LaneTransport(TunnelStream stream)
        : this(stream, null)
    {
    }

    /// <summary>The last bytes were flushed: the other side reads the end after them.</summary>
    public void EndWrites()
    {
        socket?.Shutdown(SocketShutdown.Send);
        (inner as TunnelStream)?.CompleteWrites();
    }

    /// <summary>Bytes that came from the socket.</summary>
    public long BytesReceived { get; private set; }

    /// <summary>Grows whenever the socket took what was to be sent.</summary>
    public long SendProgress => Volatile.Read(ref _sendProgress);

    /// <summary>Something waits for the socket to take it.</summary>
    public bool IsSending => _isSending;

    /// <summary>From now on the faults of that link apply.</summary>
    public void Obey(ILinkFaults? faults, string peer, string link)
    {
        if (faults is null || _faults is not null)
        {
            return;
        }

        (_peer, _link, _faults) = (peer, link, faults);
        faults.Changed += OnChanged;
        ShutWhereClosed();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_inStart == _inEnd)
        {
            var received = await inner.ReadAsync(_in, cancellationToken).ConfigureAwait(false);
            if (_faults is not null)
            {
                await PassAsync(LinkFault.CutIn, cancellationToken).ConfigureAwait(false);
            }

            (_inStart, _inEnd) = (0, received);
            BytesReceived += received;
        }

        var take = Math.Min(buffer.Length, _inEnd - _inStart);
        _in.AsSpan(_inStart, take).CopyTo(buffer.Span);
        _inStart += take;
        return take;
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (buffer.Length > 0)
        {
            if (_outEnd == Size)
            {
                await FlushAsync(cancellationToken).ConfigureAwait(false);
            }

            var take = Math.Min(buffer.Length, Size - _outEnd);
            buffer.Span[..take].CopyTo(_out.AsSpan(_outEnd));
            _outEnd += take;
            buffer = buffer[take..];
        }
    }

    public override async Task FlushAsync(CancellationToken cancellationToken)
    {
        _isSending = true;
        if (_faults is not null)
        {
            await PassAsync(LinkFault.CutOut, cancellationToken).ConfigureAwait(false);
        }

        await inner.WriteAsync(_out.AsMemory(0, _outEnd), cancellationToken).ConfigureAwait(false);
        _outEnd = 0;
        _isSending = false;
        Volatile.Write(ref _sendProgress, _sendProgress + 1);
    }

    private async ValueTask PassAsync(LinkFault cut, CancellationToken cancellationToken)
    {
        while (true)
        {
            var changed = _changed.Task;
            var fault = _faults!.Current(_peer, _link);
            if (fault.HasFlag(LinkFault.Closed))
            {
                throw new IOException("the link is down, by a fault");
            }

            if ((fault & cut) == 0)
            {
                return;
            }

            await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The close will drop what was not sent yet.</summary>
    public void Abandon()
    {
        _abandoned = true;
        if (socket is null)
        {
            return;
        }

        try
        {
            socket.LingerState = new LingerOption(true, 0);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // It is closed already.
        }
    }

    private void ShutWhereClosed()
    {
        try
        {
            if (_faults!.Current(_peer, _link).HasFlag(LinkFault.Closed))
            {
                socket?.Shutdown(SocketShutdown.Both);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Closed already.
        }
    }

    private void OnChanged(string peer, string link)
    {
        if (peer == _peer && link == _link)
        {
            ShutWhereClosed();
            Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            if (_faults is { } faults)
            {
                faults.Changed -= OnChanged;
            }

            if (inner is TunnelStream stream && !_abandoned)
            {
                // A stream that is closed without it is reset, and its last words are lost.
                stream.CompleteWrites();
            }

            inner.Dispose();
        }

        base.Dispose(disposing);
    }

    public override bool CanRead => true;
    public override bool CanWrite => true;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override void Flush()
    {
        // TLS writes an alert when it is disposed, on no account worth blocking for.
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("lanes are read asynchronously");
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("lanes are written asynchronously");
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
