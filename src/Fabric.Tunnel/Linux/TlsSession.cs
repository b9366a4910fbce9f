using System.Runtime.InteropServices;
using System.Text;
using Fabric.Identity;
using static Fabric.Tunnel.Linux.Libssl;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// TLS 1.3 of one connection: the handshake by libssl, the records after it by <see cref="TlsKey"/>. No call waits: each does what it can,
/// and its status says what the rest needs. Ciphertext gathers in the output until <see cref="Flush"/>, which callers owe after every other
/// call while <see cref="OutputLength"/> is not 0: the handshake's messages and alerts are there as well. One thread at a time, and any
/// thread.
/// </summary>
/// <remarks>
/// After the handshake, calls allocate nothing on the managed heap, and libssl's connection is freed. The answer to a peer's key update is
/// in the output before the next record is read (RFC 8446 §4.6.3). Empty records and warnings are bounded (32 in a row), key updates and
/// tickets by <see cref="TlsOptions.MaxMessagesPerSecond"/>.
/// </remarks>
internal sealed unsafe partial class TlsSession : IDisposable
{
    /// <summary>Room beyond the output's limit for what is not application data, bytes.</summary>
    private const int Reserve = 32 * 1024;

    private static int _live;

    private readonly TlsOptions _options;
    private readonly ITlsTransport _transport;
    private readonly PeerCheck _check;
    private readonly TlsBuffer _output;
    private readonly TlsBuffer _input;
    private readonly bool _isServer;
    private readonly byte[] _protocols;
    private nint _ssl;
    private GCHandle<TlsSession> _self;
    private bool _established;
    private bool _disposed;
    private TlsStatus? _end;
    private string? _endReason;

    private TlsSession(
        TlsContext context, ITlsTransport transport, bool isServer, IEnumerable<string> protocols, PeerCheck check)
    {
        (_options, _transport, _isServer, _protocols) = (context.Options, transport, isServer, TlsProtocols.Encode(protocols));
        _check = check;
        _output = new TlsBuffer(_options.OutputLimit + Reserve);
        _input = new TlsBuffer(_options.ReadBuffer);
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
    /// told no_application_protocol; when it offers none, or none are named here, the handshake goes on without (RFC 7301 §3.2). <paramref name="check"/> judges the
    /// certificate; null: it has to be a gateway's.
    /// </summary>
    /// <inheritdoc cref="TlsContext.NewSsl"/>
    public static TlsSession Server(TlsContext context, ITlsTransport transport, IEnumerable<string> protocols, PeerCheck? check = null) =>
        new(context, transport, isServer: true, protocols, check ?? new PeerCheck(context.Identity, null));

    /// <summary>
    /// A connection that this gateway opened. <paramref name="expectedGateway"/> is the name that the server's certificate must
    /// have; null takes any that the identity verifies. The server may refuse this gateway's certificate after the handshake is
    /// done here: the first read tells.
    /// </summary>
    /// <inheritdoc cref="TlsContext.NewSsl"/>
    public static TlsSession Client(TlsContext context, ITlsTransport transport, string protocol, string? expectedGateway) =>
        new(context, transport, isServer: false, [protocol], new PeerCheck(context.Identity, expectedGateway));

    /// <summary>Sessions of the process that were not disposed.</summary>
    public static int Live => Volatile.Read(ref _live);

    /// <summary>The protocol agreed on; empty before the end of the handshake, or when the client offered none.</summary>
    public string SelectedAlpn { get; private set; } = "";

    /// <summary>Whom the peer's certificate names; null before the end of the handshake, or when it showed none.</summary>
    public GatewayId? Peer => _established ? _check.Peer : null;

    /// <inheritdoc cref="PeerCheck.Root"/>
    public string PeerRoot => _check.Root;

    /// <summary>Why it failed, in one line: why a certificate was refused, which alert the peer sent. Null until then.</summary>
    public string? Error => _endReason ?? _sendError;

    /// <summary>Set when that is why: the peer's certificate was refused here.</summary>
    public CertificateRefusedException? Refusal => _check.Refusal;

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

    /// <summary>Frees all that is native, once. The transport is the caller's.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        FreeSsl();
        ForgetSecrets();
        _readKey?.Dispose();
        _writeKey?.Dispose();
        _output.Dispose();
        _input.Dispose();
        _end ??= TlsStatus.Failed;
        _endReason ??= "it was disposed";
        Interlocked.Decrement(ref _live);
    }

    private void FreeSsl()
    {
        if (_ssl != 0)
        {
            SSL_free(_ssl);
            _ssl = 0;
            _self.Dispose();
        }
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

        // libssl reads record by record, so that nothing of what comes after the handshake was taken in with it.
        TakeKeys();
        _established = true;
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
        _ => End(TlsStatus.Failed),
    };

    /// <summary>The first reason stays, and the most telling comes first.</summary>
    private TlsStatus End(TlsStatus status)
    {
        var library = _ssl == 0 ? null : TlsLibrary.TakeError();
        _endReason ??= _fault ?? _check.Refusal?.Message
            ?? (_alertReceived is { } received ? $"the peer ended TLS with the alert {received}" : null)
            ?? _receiveError
            ?? (!_atEnd ? null : $"the peer closed the connection {(_established ? "without close_notify" : "during the TLS handshake")}")
            ?? $"TLS failed: {_failure ?? library ?? "no reason given"}{(_alertSent is { } sent ? $" (alert {sent})" : "")}";
        _end = status;
        return status;
    }
}
