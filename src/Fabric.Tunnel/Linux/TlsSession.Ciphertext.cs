using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Svid;
using static Fabric.Tunnel.Linux.Libssl;

namespace Fabric.Tunnel.Linux;

/// <summary>The side of the ciphertext, and what libssl asks and tells (by <see cref="TlsCallbacks"/>).</summary>
internal sealed unsafe partial class TlsSession
{
    /// <summary>Certificates taken from what a peer sent: more are ignored.</summary>
    private const int MaxSent = 8;

    private string? _fault;
    private string? _alertReceived;
    private string? _alertSent;
    private string? _receiveError;
    private string? _sendError;
    private bool _atEnd;
    private bool _isDrained;
    private string? _failure;

    /// <summary>Application traffic secrets of client and server, as the handshake tells them.</summary>
    private readonly byte[]?[] _secrets = new byte[]?[2];

    /// <summary>Nothing is received while it is set, as if nothing came; to be read again when it is not, without an edge.</summary>
    public bool HoldReads { get; set; }

    /// <summary>Nothing is sent while it is set, as if the socket were full; to be flushed again when it is not.</summary>
    public bool HoldWrites { get; set; }

    /// <summary>
    /// To be set when the kernel told of the peer's end or of an error (EPOLLRDHUP, EPOLLHUP, EPOLLERR): no further edge announces
    /// it, so that a short receive no longer means that all was received.
    /// </summary>
    public bool HungUp { get; set; }

    /// <summary>Bytes received, and the calls that it took, those for nothing included.</summary>
    public long BytesReceived { get; private set; }

    /// <inheritdoc cref="BytesReceived"/>
    public long Receives { get; private set; }

    /// <summary>Bytes sent, and the calls that it took, those for nothing included.</summary>
    public long BytesSent { get; private set; }

    /// <inheritdoc cref="BytesSent"/>
    public long Sends { get; private set; }

    /// <summary>Bytes of ciphertext that wait for <see cref="Flush"/>.</summary>
    public int OutputLength => _output.Length;

    /// <summary>Native memory held for them, bytes.</summary>
    public int OutputCapacity => _output.Capacity;

    /// <summary>ALPN names, as TLS writes them.</summary>
    internal ReadOnlySpan<byte> Protocols => _protocols;

    /// <summary>
    /// Sends what waits: <see cref="TlsStatus.Done"/> when nothing is left, <see cref="TlsStatus.WantWrite"/> when the socket is full
    /// or writes are held, <see cref="TlsStatus.Failed"/> when it takes nothing any more: then too the peer's last words can be
    /// read. Allowed after a failure of TLS.
    /// </summary>
    /// <param name="moreFollows">The caller writes more, and flushes that as well, at once.</param>
    public TlsStatus Flush(bool moreFollows = false)
    {
        while (_output.Length > 0)
        {
            if (HoldWrites)
            {
                return TlsStatus.WantWrite;
            }

            if (_sendError is not null)
            {
                return TlsStatus.Failed;
            }

            var bytes = _output.Waiting;
            var count = _transport.Send(bytes, moreFollows);
            Sends++;
            if (count < 0 && count != -ITlsTransport.TryAgain)
            {
                _sendError = Describe(count);
                return TlsStatus.Failed;
            }

            count = Math.Max(count, 0);
            BytesSent += count;
            _output.Consume(count);
            if (count < bytes.Length)
            {
                return TlsStatus.WantWrite;
            }
        }

        return TlsStatus.Done;
    }

    /// <summary>Gives the output's memory back when nothing waits in it; for connections that have become idle.</summary>
    public void Trim() => _output.Trim();

    /// <summary>Something went wrong in a call from libssl, or with what the peer sent: the call under way fails for it.</summary>
    internal void Fault(string reason) => _fault ??= reason;

    /// <inheritdoc cref="ITlsTransport.Receive"/>
    internal int ReceiveCiphertext(Span<byte> buffer)
    {
        if (HoldReads || _isDrained)
        {
            return -ITlsTransport.TryAgain;
        }

        var count = _transport.Receive(buffer);
        Receives++;
        if (count > 0)
        {
            BytesReceived += count;
            _isDrained = count < buffer.Length && !HungUp;
        }
        else if (count == 0)
        {
            _atEnd = true;
        }
        else if (count != -ITlsTransport.TryAgain)
        {
            _receiveError = Describe(count);
        }

        return count;
    }

    /// <summary>False when the output is full.</summary>
    internal bool TakeCiphertext(ReadOnlySpan<byte> bytes) => _output.TryAppend(bytes);

    /// <param name="leaf">X509.</param>
    /// <param name="chain">STACK_OF(X509), the leaf among them.</param>
    internal bool Verify(nint leaf, nint chain)
    {
        var sent = new X509Certificate2Collection();
        X509Certificate2? certificate = null;
        try
        {
            for (var i = 0; i < Math.Min(OPENSSL_sk_num(chain), MaxSent + 1); i++)
            {
                if (OPENSSL_sk_value(chain, i) is var one && one != leaf)
                {
                    sent.Add(Export(one));
                }
            }

            certificate = Export(leaf);
            return _check.IsGood(certificate, sent);
        }
        finally
        {
            certificate?.Dispose();
            foreach (var one in sent)
            {
                one.Dispose();
            }
        }
    }

    /// <summary>
    /// The error of the refused certificate, as libssl knows them: it tells the peer by the alert that belongs to it (RFC 8446 §6.2), since it has
    /// none of its own to be given.
    /// </summary>
    internal int VerifyError => _check.Refusal?.Rejection switch
    {
        null => _fault is null ? X509_V_OK : X509_V_ERR_CERT_REJECTED,
        SvidRejection.Expired or SvidRejection.IssuerExpired => X509_V_ERR_CERT_HAS_EXPIRED,
        SvidRejection.Evicted or SvidRejection.RootWithdrawn => X509_V_ERR_CERT_REVOKED,
        SvidRejection.UntrustedChain or SvidRejection.IssuerUnknown => X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        SvidRejection.KeyUsage or SvidRejection.ExtendedKeyUsage or SvidRejection.KeyType => X509_V_ERR_INVALID_PURPOSE,
        _ => X509_V_ERR_CERT_REJECTED,
    };

    /// <summary>Alerts of the handshake, for the reason.</summary>
    /// <param name="where">SSL_CB_*.</param>
    /// <param name="value">Level and description of an alert.</param>
    internal void Observe(int where, int value)
    {
        switch (where)
        {
            case SSL_CB_READ_ALERT when IsError(value):
                _alertReceived = Marshal.PtrToStringUTF8(SSL_alert_desc_string_long(value));
                break;
            case SSL_CB_WRITE_ALERT when IsError(value):
                _alertSent = Marshal.PtrToStringUTF8(SSL_alert_desc_string_long(value));
                break;
        }
    }

    /// <summary>A line of the format that NSS gave to key logs (draft-ietf-tls-keylogfile): what, whose hello, the secret.</summary>
    internal void TakeSecret(ReadOnlySpan<byte> line)
    {
        var which = line.StartsWith("CLIENT_TRAFFIC_SECRET_0 "u8) ? 0 : line.StartsWith("SERVER_TRAFFIC_SECRET_0 "u8) ? 1 : -1;
        if (which >= 0)
        {
            var digits = line[(line.LastIndexOf((byte)' ') + 1)..];
            var secret = GC.AllocateArray<byte>(digits.Length / 2, pinned: true);
            Convert.FromHexString(digits, secret, out _, out _);
            _secrets[which] = secret;
        }
    }

    private void ForgetSecrets()
    {
        foreach (ref var secret in _secrets.AsSpan())
        {
            CryptographicOperations.ZeroMemory(secret);
            secret = null;
        }
    }

    private static string Describe(int error) => $"the connection failed: {Marshal.GetPInvokeErrorMessage(-error)}";

    /// <summary>All but close_notify and user_canceled, whatever the level says (RFC 8446 §6).</summary>
    private static bool IsError(int alert) => (alert & 0xFF) is not (0 or 90);

    private static X509Certificate2 Export(nint certificate)
    {
        var der = new byte[Math.Max(i2d_X509(certificate, null), 0)];
        fixed (byte* start = der)
        {
            var next = start;
            _ = i2d_X509(certificate, &next);
        }

        return X509CertificateLoader.LoadCertificate(der);
    }
}
