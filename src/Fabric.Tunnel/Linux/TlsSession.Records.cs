using System.Security.Cryptography;
using static Fabric.Tunnel.Linux.Libssl;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// After the handshake: records (RFC 8446 §5), and the little that TLS itself still says in them. They pass once through the cipher, from
/// where the bytes are to where they belong.
/// </summary>
internal sealed unsafe partial class TlsSession
{
    private TlsKey? _readKey;
    private TlsKey? _writeKey;
    private int _records;
    private bool _closeSent;

    /// <summary>Content that was decrypted where it lay, because the reader had no room for all of it: so many bytes, and what follows them.</summary>
    private int _ready;
    private int _behind;

    /// <summary>
    /// Reads application data until the buffer is full (<see cref="TlsStatus.Done"/>) or something else ends it; the bytes that
    /// the call returns are good whatever the status.
    /// </summary>
    /// <remarks>
    /// For callers that are told of new bytes by edges: after Done call again, since received bytes wait here without the socket being
    /// readable; only <see cref="TlsStatus.WantRead"/> says that the socket was emptied. A receive that brings less than was asked for
    /// counts as that, without a second one, until <see cref="HungUp"/>. A buffer with room for a whole record is decrypted into.
    /// </remarks>
    public int Read(Span<byte> buffer, out TlsStatus status)
    {
        if (!CanExchange(out status))
        {
            return 0;
        }

        _isDrained = false;
        var count = 0;
        fixed (byte* start = buffer)
        {
            while (count < buffer.Length && status == TlsStatus.Done)
            {
                if (_ready > 0)
                {
                    count += TakeReady(buffer[count..]);
                }
                else if (_closeReceived)
                {
                    status = TlsStatus.Closed;
                }
                else if (_answerDue && !TryAnswer())
                {
                    status = TlsStatus.WantWrite;
                }
                else if (NextRecord(out var length))
                {
                    count += Open(length, start + count, buffer.Length - count);
                    status = _end ?? TlsStatus.Done;
                }
                else
                {
                    status = _end ?? Receive();
                }
            }
        }

        _input.Trim();
        return count;
    }

    /// <summary>
    /// Encrypts into the output and returns how many bytes were taken, which are not to be given again. Less than all with
    /// <see cref="TlsStatus.WantWrite"/> when the output is full, with <see cref="TlsStatus.Failed"/> after <see cref="SendCloseNotify"/>.
    /// </summary>
    public int Write(ReadOnlySpan<byte> data, out TlsStatus status)
    {
        if (!CanExchange(out status) || data.IsEmpty)
        {
            return 0;
        }

        if (_sendError is not null || _closeSent)
        {
            status = TlsStatus.Failed;
            return 0;
        }

        var count = 0;
        while (count < data.Length)
        {
            var content = data.Slice(count, Math.Min(data.Length - count, TlsKey.MaxContent));
            if (_output.Length + content.Length + TlsKey.Overhead > _options.OutputLimit)
            {
                status = TlsStatus.WantWrite;
                break;
            }

            if (_records == _options.KeyUpdateAfter)
            {
                UpdateKey(ofPeer: false);
            }

            _records++;
            TrySeal(content, TlsRecordType.ApplicationData);
            count += content.Length;
        }

        return count;
    }

    /// <summary>
    /// Tells the peer that nothing comes after what was written; reading goes on. It stays in the output until it is flushed. Does
    /// nothing before the end of the handshake, after a failure, or a second time.
    /// </summary>
    public void SendCloseNotify()
    {
        if (_established && _end is null && !_closeSent)
        {
            _closeSent = true;
            TrySeal([1, CloseNotify], TlsRecordType.Alert);
        }
    }

    /// <summary>A read has something to tell without the socket: records that came and are not read, or the end.</summary>
    public bool HasInput => _ready > 0 || _input.Length > 0 || _closeReceived || _end is not null;

    /// <summary>After the handshake: ends it by that alert (RFC 8446 §6.2), which stays in the output until it is flushed.</summary>
    public void Refuse(int alert, string reason) => Fail(alert, reason);

    /// <summary>
    /// Changes the key of what is written from now on, and asks the peer to change its own as well if <paramref name="ofPeer"/>
    /// (RFC 8446 §4.6.3). <see cref="Write"/> does it by itself, in time.
    /// </summary>
    public void UpdateKey(bool ofPeer)
    {
        _records = 0;
        if (TrySeal([KeyUpdate, 0, 0, 1, (byte)(ofPeer ? 1 : 0)], TlsRecordType.Handshake))
        {
            _writeKey!.Update();
        }
    }

    /// <summary>From the handshake: libssl tells the secrets, and is no longer needed.</summary>
    private void TakeKeys()
    {
        var suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(_ssl));
        var (client, server) = (_secrets[0], _secrets[1]);
        if (client is null || server is null)
        {
            throw new CryptographicException("libssl did not tell the secrets of the connection");
        }

        _readKey = new TlsKey(suite, _isServer ? client : server, seals: false);
        _writeKey = new TlsKey(suite, _isServer ? server : client, seals: true);
        ForgetSecrets();
        FreeSsl();
    }

    /// <summary>One record into the output. False when that has no room. Only what is above calls it, and tests.</summary>
    internal bool TrySeal(ReadOnlySpan<byte> content, byte type)
    {
        var size = content.Length + TlsKey.Overhead;
        var record = _output.Reserve(size);
        if (record is null)
        {
            return false;
        }

        _writeKey!.Seal(content, type, record);
        _output.Add(size);
        return true;
    }

    // ---- in

    private TlsStatus Receive()
    {
        var room = _options.ReadBuffer - _input.Length;
        var count = ReceiveCiphertext(new Span<byte>(_input.Reserve(room), room));
        if (count > 0)
        {
            _input.Add(count);
            return TlsStatus.Done;
        }

        return count == -ITlsTransport.TryAgain ? TlsStatus.WantRead : End(_atEnd ? TlsStatus.Truncated : TlsStatus.Failed);
    }

    /// <summary>Whether a whole record is there. One that can be none ends the connection, before it is whole.</summary>
    /// <param name="length">Of its ciphertext.</param>
    private bool NextRecord(out int length)
    {
        length = 0;
        var bytes = _input.Waiting;
        if (bytes.IsEmpty)
        {
            return false;
        }

        if (bytes[0] != TlsRecordType.ApplicationData)
        {
            // All are encrypted, and look alike (RFC 8446 §5.2).
            Fail(UnexpectedMessage, "bad record type");
            return false;
        }

        if (bytes.Length < TlsKey.Header)
        {
            return false;
        }

        length = bytes[3] << 8 | bytes[4];
        if (length is <= TlsKey.Tag or > TlsKey.MaxCiphertext)
        {
            var isLong = length > TlsKey.Tag;
            Fail(isLong ? RecordOverflow : BadRecordMac, $"record length too {(isLong ? "long" : "short")}");
            return false;
        }

        return bytes.Length >= TlsKey.Header + length;
    }

    /// <summary>Opens the record that is there. Returns how much of the application's went where the reader wants it.</summary>
    private int Open(int length, byte* into, int room)
    {
        var record = _input.Start;
        var content = length - TlsKey.Tag - 1;
        var inPlace = content > room;
        var to = inPlace ? record + TlsKey.Header : into;
        if (!_readKey!.TryOpen(record, length, to, out var type))
        {
            ERR_clear_error();
            Fail(BadRecordMac, "decryption failed or bad record mac");
            return 0;
        }

        var all = content;
        while (type == 0 && content > 0)
        {
            type = to[--content];
        }

        if (type == TlsRecordType.ApplicationData && content > 0 && !IsInMessage)
        {
            _idleRecords = 0;
            if (inPlace)
            {
                _input.Consume(TlsKey.Header);
                (_ready, _behind) = (content, all - content + 1 + TlsKey.Tag);
                return 0;
            }

            _input.Consume(TlsKey.Header + length);
            return content;
        }

        TakeOther(type, new ReadOnlySpan<byte>(to, content));
        _input.Consume(TlsKey.Header + length);
        return 0;
    }

    private int TakeReady(Span<byte> buffer)
    {
        var count = Math.Min(buffer.Length, _ready);
        _input.Waiting[..count].CopyTo(buffer);
        _ready -= count;
        _input.Consume(_ready == 0 ? count + _behind : count);
        return count;
    }
}
