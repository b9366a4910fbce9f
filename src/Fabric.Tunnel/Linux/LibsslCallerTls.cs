using System.Buffers;
using System.Net.Sockets;
using System.Security.Authentication;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// By libssl, on the thread pool: the client's certificate is judged within the handshake, and who is refused is told why by an alert. Its
/// ciphertext comes and goes by the socket's own tasks, in buffers that are rented while something is in them.
/// </summary>
internal sealed class LibsslCallerTls : CallerTls
{
    /// <summary>Bytes that one receive may bring.</summary>
    private const int Receives = 32 * 1024;

    /// <summary>The alert for a client that showed none (RFC 8446 §6.2).</summary>
    private const int CertificateRequired = 116;

    /// <summary>TLS takes one caller at a time.</summary>
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _sending = new(1);
    private readonly Socket _socket;
    private readonly PeerCheck _check;
    private readonly Ciphertext _ciphertext = new();
    private readonly TlsSession _tls;
    private volatile bool _completed;
    private bool _disposed;

    /// <inheritdoc cref="IDriver.Secure"/>
    public LibsslCallerTls(TlsContext context, Socket socket, PeerCheck check, string[] protocols)
    {
        (_socket, _check) = (socket, check);
        _tls = TlsSession.Server(context, _ciphertext, protocols, check);
    }

    public override async Task ShakeHandsAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            TlsStatus status;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                status = _tls.Handshake();
                if (status == TlsStatus.Done && _check.Workload is null)
                {
                    _check.IsGood(null, []);
                    _tls.Refuse(CertificateRequired, _check.Refusal!.Message);
                    status = TlsStatus.Failed;
                }

                _tls.Flush();
            }

            // Also after a failure: the alert.
            await SendAsync(cancellationToken).ConfigureAwait(false);
            switch (status)
            {
                case TlsStatus.Done:
                    return;
                case TlsStatus.WantRead:
                    await ReceiveAsync(cancellationToken).ConfigureAwait(false);
                    break;
                case TlsStatus.WantWrite:
                    break;
                default:
                    throw _check.Refusal ?? new AuthenticationException(_tls.Error);
            }
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            int read;
            TlsStatus status;
            bool waits;
            bool answers;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                read = _tls.Read(buffer.Span, out status);
                waits = buffer.IsEmpty && status == TlsStatus.Done && !_tls.HasInput && _ciphertext.IsEmpty;

                // Of TLS itself, to a change of keys. Nothing else makes a read wait for a write: who writes before it reads would wait for ever.
                answers = _tls.OutputLength > 0;
                _tls.Flush();
            }

            if (answers)
            {
                await SendAsync(cancellationToken).ConfigureAwait(false);
            }

            if (waits)
            {
                await WaitAsync(cancellationToken).ConfigureAwait(false);
                return 0;
            }

            switch (status)
            {
                case var _ when read > 0 || buffer.IsEmpty:
                    return read;
                case TlsStatus.Closed:
                case TlsStatus.Truncated when _completed:
                    return 0;
                case TlsStatus.Failed or TlsStatus.Truncated:
                    throw new IOException(_tls.Error);
                case TlsStatus.WantRead:
                    await ReceiveAsync(cancellationToken).ConfigureAwait(false);
                    break;
            }
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (buffer.Length > 0)
        {
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                buffer = buffer[_tls.Write(buffer.Span, out var status)..];
                if (status == TlsStatus.Failed)
                {
                    throw new IOException(_tls.Error ?? "it was ended here");
                }

                _tls.Flush();
            }

            await SendAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    public override async Task CompleteAsync()
    {
        _completed = true;
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _tls.SendCloseNotify();
            _tls.Flush();
        }

        await SendAsync(CancellationToken.None).ConfigureAwait(false);
    }

    public override ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            if (!_disposed)
            {
                _disposed = true;
                _tls.Dispose();
                _ciphertext.Clear();
            }
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>What TLS has for the client, in the order in which it came to be.</summary>
    private async Task SendAsync(CancellationToken cancellationToken)
    {
        await _sending.WaitAsync(cancellationToken).ConfigureAwait(false);
        byte[]? taken = null;
        try
        {
            int length;
            lock (_lock)
            {
                (taken, length) = _ciphertext.TakeOutput();
            }

            for (var sent = 0; sent < length;)
            {
                sent += await _socket.SendAsync(taken.AsMemory(sent, length - sent), SocketFlags.None, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (SocketException error)
        {
            throw new IOException(error.Message, error);
        }
        finally
        {
            _sending.Release();
            if (taken is not null)
            {
                ArrayPool<byte>.Shared.Return(taken);
            }
        }
    }

    /// <summary>Until something has come, or the end. An idle connection holds no buffer.</summary>
    private async Task WaitAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _socket.ReceiveAsync(Memory<byte>.Empty, SocketFlags.None, cancellationToken).ConfigureAwait(false);
        }
        catch (SocketException error)
        {
            throw new IOException(error.Message, error);
        }
    }

    private async Task ReceiveAsync(CancellationToken cancellationToken)
    {
        await WaitAsync(cancellationToken).ConfigureAwait(false);
        var buffer = ArrayPool<byte>.Shared.Rent(Receives);
        var isGiven = false;
        try
        {
            var count = await _socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken).ConfigureAwait(false);
            lock (_lock)
            {
                isGiven = !_disposed && _ciphertext.Give(buffer, count);
            }
        }
        catch (SocketException error)
        {
            throw new IOException(error.Message, error);
        }
        finally
        {
            if (!isGiven)
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }

    /// <summary>What was received and is not read, and what was written and is not sent. In the lock.</summary>
    private sealed class Ciphertext : ITlsTransport
    {
        private byte[]? _input;
        private int _first;
        private int _end;
        private bool _atEnd;
        private byte[]? _output;
        private int _outputLength;

        public bool IsEmpty => _input is null && !_atEnd;

        /// <summary>Takes the buffer over; false when there is nothing in it, which is the end. All that was given before has been read.</summary>
        public bool Give(byte[] buffer, int count)
        {
            _atEnd = count == 0;
            if (!_atEnd)
            {
                (_input, _first, _end) = (buffer, 0, count);
            }

            return !_atEnd;
        }

        public int Receive(Span<byte> buffer)
        {
            if (_input is null)
            {
                return _atEnd ? 0 : -ITlsTransport.TryAgain;
            }

            var count = Math.Min(buffer.Length, _end - _first);
            _input.AsSpan(_first, count).CopyTo(buffer);
            _first += count;
            if (_first == _end)
            {
                ArrayPool<byte>.Shared.Return(_input);
                _input = null;
            }

            return count;
        }

        public int Send(ReadOnlySpan<byte> bytes, bool moreFollows)
        {
            if (_output is null || _output.Length - _outputLength < bytes.Length)
            {
                var larger = ArrayPool<byte>.Shared.Rent(_outputLength + bytes.Length);
                _output?.AsSpan(0, _outputLength).CopyTo(larger);
                ReturnOutput();
                _output = larger;
            }

            bytes.CopyTo(_output.AsSpan(_outputLength));
            _outputLength += bytes.Length;
            return bytes.Length;
        }

        /// <summary>The caller returns it.</summary>
        public (byte[]? Bytes, int Length) TakeOutput()
        {
            var taken = (_output, _outputLength);
            (_output, _outputLength) = (null, 0);
            return taken;
        }

        public void Clear()
        {
            if (_input is not null)
            {
                ArrayPool<byte>.Shared.Return(_input);
            }

            ReturnOutput();
            (_input, _output, _outputLength) = (null, null, 0);
        }

        private void ReturnOutput()
        {
            if (_output is not null)
            {
                ArrayPool<byte>.Shared.Return(_output);
            }
        }
    }
}
