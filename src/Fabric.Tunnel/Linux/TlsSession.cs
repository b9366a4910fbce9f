using System.Runtime.InteropServices;
using System.Text;
using Fabric.Identity;
using static Fabric.Tunnel.Linux.Libssl;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// TLS 1.3 of one connection, by libssl. No call waits: each does what it can, and its status says what the rest needs.
/// Ciphertext is received straight into libssl's buffer, and gathers in the output until <see cref="Flush"/>, which callers owe
/// after every other call while <see cref="OutputLength"/> is not 0: the handshake's messages and alerts are there as well. One
/// thread at a time, and any thread.
/// </summary>
/// <remarks>
/// After the handshake, calls allocate nothing on the managed heap. The answer to a peer's key update is in the output before the
/// next record that is written (RFC 8446 §4.6.3). libssl bounds empty records (32 in a row) and warnings (5 in a row) itself; key
/// updates and tickets are bounded by <see cref="TlsOptions.MaxMessagesPerSecond"/>.
/// </remarks>
internal sealed unsafe partial class TlsSession : IDisposable
{
    /// <summary>Plaintext in a record at most, bytes (RFC 8446 §5.1).</summary>
    private const int MaxRecord = 16 * 1024;

    /// <summary>What a record has besides: header, content type and tag, bytes (RFC 8446 §5.2).</summary>
    private const int RecordOverhead = 5 + 1 + 16;

    /// <summary>Room beyond the output's limit for what is not application data, bytes.</summary>
    private const int Reserve = 32 * 1024;

    private static int _live;

    private readonly TlsOptions _options;
    private readonly ITlsTransport _transport;
    private readonly PeerCheck _check;
    private readonly TlsOutput _output;
    private readonly bool _isServer;
    private readonly byte[] _protocols;
    private nint _ssl;
    private GCHandle<TlsSession> _self;
    private bool _established;
    private bool _closeSent;
    private int _records;
    private TlsStatus? _end;
    private string? _endReason;

    private TlsSession(
        TlsContext context, ITlsTransport transport, bool isServer, IEnumerable<string> protocols, string? expectedGateway)
    {
        (_options, _transport, _isServer, _protocols) = (context.Options, transport, isServer, TlsProtocols.Encode(protocols));
        _check = new PeerCheck(context.Identity, expectedGateway);
        _output = new TlsOutput(_options.OutputLimit + Reserve);
        _ssl = context.NewSsl();
        _self = new GCHandle<TlsSession>(this);
        Interlocked.Increment(ref _live);
        try
        {
            Begin();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>
    /// An accepted connection. A client's certificate is asked for, and verified when it comes; without one, <see cref="Peer"/>
    /// is null. When the client offers protocols and none is among <paramref name="protocols"/> (the first has precedence), it is
    /// told no_application_protocol; when it offers none, the handshake goes on without (RFC 7301 §3.2).
    /// </summary>
    /// <inheritdoc cref="TlsContext.NewSsl"/>
    public static TlsSession Server(TlsContext context, ITlsTransport transport, IEnumerable<string> protocols) =>
        new(context, transport, isServer: true, protocols, null);

    /// <summary>
    /// A connection that this gateway opened. <paramref name="expectedGateway"/> is the name that the server's certificate must
    /// have; null takes any that the identity verifies. The server may refuse this gateway's certificate after the handshake is
    /// done here: the first read tells.
    /// </summary>
    /// <inheritdoc cref="TlsContext.NewSsl"/>
    public static TlsSession Client(TlsContext context, ITlsTransport transport, string protocol, string? expectedGateway) =>
        new(context, transport, isServer: false, [protocol], expectedGateway);

    /// <summary>Sessions of the process that were not disposed.</summary>
    public static int Live => Volatile.Read(ref _live);

    /// <summary>The protocol agreed on; empty before the end of the handshake, or when the client offered none.</summary>
    public string SelectedAlpn { get; private set; } = "";

    /// <summary>Whom the peer's certificate names; null before the end of the handshake, or when it showed none.</summary>
    public GatewayId? Peer => _established ? _check.Peer : null;

    /// <summary>Why it failed, in one line: why a certificate was refused, which alert the peer sent. Null until then.</summary>
    public string? Error => _endReason ?? _sendError;

    /// <summary>
    /// Begins the handshake or goes on with it. Flush after each call, also after the last, and after a failure: it leaves an alert.
    /// When it is done, read before waiting: the peer's first data may have come along.
    /// </summary>
    public TlsStatus Handshake()
    {
        if (_end is { } end)
        {
            return end;
        }

        if (!_established)
        {
            Prepare();
            var result = SSL_do_handshake(_ssl);
            if (result != 1)
            {
                return Interpret(result);
            }

            Establish();
        }

        return _end ?? TlsStatus.Done;
    }

    /// <summary>
    /// Reads application data until the buffer is full (<see cref="TlsStatus.Done"/>) or something else ends it; the bytes that
    /// the call returns are good whatever the status.
    /// </summary>
    /// <remarks>
    /// For callers that are told of new bytes by edges: after Done call again, since decrypted and received bytes wait here without
    /// the socket being readable; only <see cref="TlsStatus.WantRead"/> says that the socket was emptied. A receive that brings
    /// less than was asked for counts as that, without a second one, until <see cref="HungUp"/>.
    /// </remarks>
    public int Read(Span<byte> buffer, out TlsStatus status)
    {
        if (!CanExchange(out status))
        {
            return 0;
        }

        Prepare();
        _isReading = true;
        var count = 0;
        fixed (byte* start = buffer)
        {
            while (count < buffer.Length)
            {
                var result = SSL_read(_ssl, start + count, buffer.Length - count);
                if (result <= 0)
                {
                    status = Interpret(result);
                    break;
                }

                count += result;
            }
        }

        _isReading = false;
        return count;
    }

    /// <summary>
    /// Encrypts into the output and returns how many bytes were taken, which are not to be given again. Less than all with
    /// <see cref="TlsStatus.WantWrite"/> when the output is full, with <see cref="TlsStatus.WantRead"/> while the peer is in the
    /// middle of a handshake message.
    /// </summary>
    public int Write(ReadOnlySpan<byte> data, out TlsStatus status)
    {
        if (!CanExchange(out status) || data.IsEmpty)
        {
            return 0;
        }

        if (_sendError is not null)
        {
            status = TlsStatus.Failed;
            return 0;
        }

        Prepare();
        var count = 0;
        fixed (byte* start = data)
        {
            while (count < data.Length)
            {
                // Only with room for all of the record: one that libssl holds back would have to be written again, byte for byte.
                var length = Math.Min(data.Length - count, MaxRecord);
                if (_output.Length + length + RecordOverhead > _options.OutputLimit)
                {
                    status = TlsStatus.WantWrite;
                    break;
                }

                if (_records == _options.KeyUpdateAfter)
                {
                    UpdateKey(ofPeer: false);
                }

                _records++;
                var result = SSL_write(_ssl, start + count, length);
                if (result <= 0)
                {
                    status = Interpret(result);
                    break;
                }

                count += result;
            }
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
            Prepare();
            _ = SSL_shutdown(_ssl);
        }
    }

    /// <summary>
    /// Changes the key of what is written from now on, and asks the peer to change its own as well if <paramref name="ofPeer"/>
    /// (RFC 8446 §4.6.3). <see cref="Write"/> does it by itself, in time.
    /// </summary>
    public void UpdateKey(bool ofPeer)
    {
        _records = 0;
        if (SSL_key_update(_ssl, ofPeer ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
        {
            _ = SSL_do_handshake(_ssl);
        }
    }

    /// <summary>Frees all that is native, once. The transport is the caller's.</summary>
    public void Dispose()
    {
        if (_ssl == 0)
        {
            return;
        }

        SSL_free(_ssl);
        _ssl = 0;
        _self.Dispose();
        _output.Dispose();
        _end ??= TlsStatus.Failed;
        _endReason ??= "it was disposed";
        Interlocked.Decrement(ref _live);
    }

    private void Begin()
    {
        TlsCallbacks.Attach(_ssl, _self);
        if (_isServer)
        {
            SSL_set_accept_state(_ssl);
            return;
        }

        SSL_set_connect_state(_ssl);
        fixed (byte* names = _protocols)
        {
            TlsLibrary.Require(SSL_set_alpn_protos(_ssl, names, (uint)_protocols.Length) == 0 ? 1 : 0, "ALPN");
        }
    }

    private void Establish()
    {
        byte* name;
        uint length;
        SSL_get0_alpn_selected(_ssl, &name, &length);
        var selected = new ReadOnlySpan<byte>(name, (int)length);
        SelectedAlpn = Encoding.UTF8.GetString(selected);
        if (!_isServer && !selected.SequenceEqual(_protocols.AsSpan(1)))
        {
            Fault($"the server does not speak {Encoding.UTF8.GetString(_protocols.AsSpan(1))}");
            End(TlsStatus.Failed);
            return;
        }

        _established = true;
        // Not before: the handshake then ends at a record's end, and nothing of the application is taken in with it.
        SSL_set_read_ahead(_ssl, 1);
    }

    private bool CanExchange(out TlsStatus status)
    {
        status = _end ?? TlsStatus.Done;
        return _end is not null ? false : _established ? true : throw new InvalidOperationException("the TLS handshake is not done");
    }

    /// <summary>Before every call of libssl that may fail: this thread's queue may hold an error of another connection.</summary>
    private void Prepare()
    {
        _isDrained = false;
        ERR_clear_error();
    }

    private TlsStatus Interpret(int result) => SSL_get_error(_ssl, result) switch
    {
        SSL_ERROR_WANT_READ => TlsStatus.WantRead,
        SSL_ERROR_WANT_WRITE => TlsStatus.WantWrite,
        SSL_ERROR_ZERO_RETURN when _established && _fault is null => TlsStatus.Closed,
        _ => End(_established && _atEnd && _fault is null ? TlsStatus.Truncated : TlsStatus.Failed),
    };

    /// <summary>The first reason stays, and the most telling comes first.</summary>
    private TlsStatus End(TlsStatus status)
    {
        var library = TlsLibrary.TakeError();
        _endReason ??= _fault ?? _check.Refusal
            ?? (_alertReceived is { } received ? $"the peer ended TLS with the alert {received}" : null)
            ?? _receiveError
            ?? (!_atEnd ? null : $"the peer closed the connection {(_established ? "without close_notify" : "during the TLS handshake")}")
            ?? $"TLS failed: {library ?? "no reason given"}{(_alertSent is { } sent ? $" (alert {sent})" : "")}";
        _end = status;
        return status;
    }
}
