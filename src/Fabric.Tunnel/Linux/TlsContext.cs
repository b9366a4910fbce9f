using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;
using static Fabric.Tunnel.Linux.Libssl;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// What all TLS connections of a gateway have in common, both those that it opens and those that it accepts: TLS 1.3 alone, its
/// present certificate and key, the callbacks. Sessions are not resumed, as in <see cref="Portable.MutualTls"/>, and so there is
/// no early data either. Safe to call from any thread.
/// </summary>
/// <remarks>
/// Connections hold what they were made from: they go on when the certificate was renewed, and when this is disposed.
/// </remarks>
internal sealed unsafe class TlsContext : IDisposable
{
    /// <summary>More than any P-256 key has as PKCS #8: about 140 bytes.</summary>
    private const int MaxKey = 1024;

    private readonly Lock _lock = new();
    private SslStreamCertificateContext? _certificate;
    private nint _context;
    private bool _disposed;

    /// <summary>Throws <see cref="PlatformNotSupportedException"/> without the library.</summary>
    public TlsContext(IGatewayIdentity identity, TlsOptions options)
    {
        if (!TlsLibrary.IsAvailable(out var reason))
        {
            throw new PlatformNotSupportedException(reason);
        }

        (Identity, Options) = (identity, options);
    }

    public IGatewayIdentity Identity { get; }

    public TlsOptions Options { get; }

    /// <summary>How many certificates were put to use so far: grows with each renewal.</summary>
    public int Generation { get; private set; }

    /// <summary>
    /// A new SSL object that shows the present certificate. Throws <see cref="CryptographicException"/> when the library does not
    /// take certificate or key.
    /// </summary>
    internal nint NewSsl()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            var certificate = Identity.Certificate;
            if (!ReferenceEquals(certificate, _certificate))
            {
                var context = Build(certificate);
                SSL_CTX_free(_context);
                (_context, _certificate) = (context, certificate);
                Generation++;
            }

            return TlsLibrary.Require(SSL_new(_context), "a connection");
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            SSL_CTX_free(_context);
            (_context, _certificate, _disposed) = (0, null, true);
        }
    }

    private nint Build(SslStreamCertificateContext certificate)
    {
        ERR_clear_error();
        var context = TlsLibrary.Require(SSL_CTX_new(TLS_method()), "a context");
        try
        {
            Configure(context);
            Show(context, certificate);
            TlsCallbacks.Set(context);
            return context;
        }
        catch
        {
            SSL_CTX_free(context);
            throw;
        }
    }

    private void Configure(nint context)
    {
        TlsLibrary.Require(SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, 0), "TLS 1.3 as the least");
        TlsLibrary.Require(SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION, 0), "TLS 1.3 as the most");

        // AES at 5 GB/s where it is an instruction, and ChaCha20 when either end has none.
        var hasAes = System.Runtime.Intrinsics.X86.Aes.IsSupported || System.Runtime.Intrinsics.Arm.Aes.IsSupported;
        TlsLibrary.Require(SSL_CTX_set_ciphersuites(context, hasAes
            ? "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
            : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"), "cipher suites");
        TlsLibrary.Require(SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, "X25519:P-256"), "groups");
        SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET
            | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
        TlsLibrary.Require(SSL_CTX_set_num_tickets(context, 0), "no tickets");
        SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, 0);

        SSL_CTX_ctrl(context, SSL_CTRL_MODE, SSL_MODE_AUTO_RETRY | SSL_MODE_NO_AUTO_CHAIN, 0);
    }

    private static void Show(nint context, SslStreamCertificateContext certificate)
    {
        var leaf = Import(certificate.TargetCertificate);
        try
        {
            TlsLibrary.Require(SSL_CTX_use_certificate(context, leaf), "the certificate");
        }
        finally
        {
            X509_free(leaf);
        }

        foreach (var intermediate in certificate.IntermediateCertificates)
        {
            var copy = Import(intermediate);
            var added = SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, copy);
            X509_free(copy);
            TlsLibrary.Require(added, "an intermediate certificate");
        }

        var key = ImportKey(certificate.TargetCertificate);
        try
        {
            TlsLibrary.Require(SSL_CTX_use_PrivateKey(context, key), "the private key");
            TlsLibrary.Require(SSL_CTX_check_private_key(context), "the private key with this certificate");
        }
        finally
        {
            EVP_PKEY_free(key);
        }
    }

    private static nint Import(X509Certificate2 certificate)
    {
        fixed (byte* der = certificate.RawDataMemory.Span)
        {
            var next = der;
            return TlsLibrary.Require(d2i_X509(0, &next, certificate.RawDataMemory.Length), "the DER of a certificate");
        }
    }

    /// <summary>The key passes as bytes, since .NET need not use the same copy of the library; they are cleared.</summary>
    private static nint ImportKey(X509Certificate2 certificate)
    {
        using var key = certificate.GetECDsaPrivateKey()
            ?? throw new CryptographicException("the gateway's certificate has no ECDSA key");
        Span<byte> pkcs8 = stackalloc byte[MaxKey];
        try
        {
            if (!key.TryExportPkcs8PrivateKey(pkcs8, out var length))
            {
                throw new CryptographicException($"the gateway's key has more than {MaxKey} bytes");
            }

            fixed (byte* der = pkcs8)
            {
                var next = der;
                return TlsLibrary.Require(d2i_AutoPrivateKey(0, &next, length), "the PKCS #8 of the private key");
            }
        }
        finally
        {
            CryptographicOperations.ZeroMemory(pkcs8);
        }
    }
}
