using System.Runtime.InteropServices;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// What is called of libssl and libcrypto, version 3, by their own names (OpenSSL manual, sections 3 and 7). Opaque objects are
/// <see cref="nint"/>; C's <c>long</c> is one too, as it is as wide as a pointer on Linux.
/// </summary>
/// <remarks>
/// Without the garbage collector's transition are only calls that take nanoseconds, never block, and never call back into here.
/// </remarks>
internal static unsafe partial class Libssl
{
    private const string Ssl = "libssl.so.3";
    private const string Crypto = "libcrypto.so.3";

    public const ulong OPENSSL_INIT_NO_ATEXIT = 0x80000;

    public const int TLS1_3_VERSION = 0x0304;

    public const int SSL_CTRL_MODE = 33;
    public const int SSL_CTRL_SET_SESS_CACHE_MODE = 44;
    public const int SSL_CTRL_CHAIN_CERT = 89;
    public const int SSL_CTRL_SET_GROUPS_LIST = 92;
    public const int SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
    public const int SSL_CTRL_SET_MAX_PROTO_VERSION = 124;

    public const int SSL_MODE_AUTO_RETRY = 0x4;
    public const int SSL_MODE_NO_AUTO_CHAIN = 0x8;

    public const ulong SSL_OP_NO_TICKET = 1UL << 14;
    public const ulong SSL_OP_NO_COMPRESSION = 1UL << 17;
    public const ulong SSL_OP_PRIORITIZE_CHACHA = 1UL << 21;
    public const ulong SSL_OP_CIPHER_SERVER_PREFERENCE = 1UL << 22;
    public const ulong SSL_OP_NO_RENEGOTIATION = 1UL << 30;

    public const int SSL_SESS_CACHE_OFF = 0;
    public const int SSL_VERIFY_PEER = 1;
    public const int SSL_TLSEXT_ERR_OK = 0;
    public const int SSL_TLSEXT_ERR_ALERT_FATAL = 2;
    public const int SSL_TLSEXT_ERR_NOACK = 3;

    public const int SSL_ERROR_WANT_READ = 2;
    public const int SSL_ERROR_WANT_WRITE = 3;

    public const int SSL_CB_READ_ALERT = 0x4004;
    public const int SSL_CB_WRITE_ALERT = 0x4008;

    public const int TLS_AES_256_GCM_SHA384 = 0x1302;
    public const int TLS_CHACHA20_POLY1305_SHA256 = 0x1303;

    public const int EVP_CTRL_AEAD_GET_TAG = 0x10;
    public const int EVP_CTRL_AEAD_SET_TAG = 0x11;

    public const int X509_V_OK = 0;

    /// <summary>The peer is told certificate_expired.</summary>
    public const int X509_V_ERR_CERT_HAS_EXPIRED = 10;

    /// <summary>The peer is told unknown_ca.</summary>
    public const int X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY = 20;

    /// <summary>The peer is told certificate_revoked.</summary>
    public const int X509_V_ERR_CERT_REVOKED = 23;

    /// <summary>The peer is told unsupported_certificate.</summary>
    public const int X509_V_ERR_INVALID_PURPOSE = 26;

    /// <summary>The peer is told bad_certificate.</summary>
    public const int X509_V_ERR_CERT_REJECTED = 28;

    public const int BIO_TYPE_SOURCE_SINK = 0x400;
    public const int BIO_CTRL_FLUSH = 11;
    public const int BIO_FLAGS_READ = 1;
    public const int BIO_FLAGS_WRITE = 2;
    public const int BIO_FLAGS_RWS = 7;
    public const int BIO_FLAGS_SHOULD_RETRY = 8;

    // The library.
    [LibraryImport(Ssl)]
    public static partial int OPENSSL_init_ssl(ulong options, nint settings);

    [LibraryImport(Crypto)]
    public static partial nuint OpenSSL_version_num();

    [LibraryImport(Crypto), SuppressGCTransition]
    public static partial void ERR_clear_error();

    [LibraryImport(Crypto)]
    public static partial nuint ERR_get_error();

    [LibraryImport(Crypto)]
    public static partial nint ERR_reason_error_string(nuint error);

    // Contexts.
    [LibraryImport(Ssl)]
    public static partial nint TLS_method();

    [LibraryImport(Ssl)]
    public static partial nint SSL_CTX_new(nint method);

    [LibraryImport(Ssl)]
    public static partial void SSL_CTX_free(nint context);

    [LibraryImport(Ssl)]
    public static partial nint SSL_CTX_ctrl(nint context, int command, nint number, nint pointer);

    [LibraryImport(Ssl, EntryPoint = "SSL_CTX_ctrl", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint SSL_CTX_ctrl(nint context, int command, nint number, string text);

    [LibraryImport(Ssl)]
    public static partial ulong SSL_CTX_set_options(nint context, ulong options);

    [LibraryImport(Ssl, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SSL_CTX_set_ciphersuites(nint context, string suites);

    [LibraryImport(Ssl)]
    public static partial int SSL_CTX_set_num_tickets(nint context, nuint count);

    [LibraryImport(Ssl)]
    public static partial int SSL_CTX_use_certificate(nint context, nint certificate);

    [LibraryImport(Ssl)]
    public static partial int SSL_CTX_use_PrivateKey(nint context, nint key);

    [LibraryImport(Ssl)]
    public static partial int SSL_CTX_check_private_key(nint context);

    [LibraryImport(Ssl)]
    public static partial void SSL_CTX_set_verify(nint context, int mode, nint callback);

    [LibraryImport(Ssl)]
    public static partial void SSL_CTX_set_cert_verify_callback(
        nint context, delegate* unmanaged<nint, nint, int> callback, nint argument);

    [LibraryImport(Ssl)]
    public static partial void SSL_CTX_set_alpn_select_cb(
        nint context, delegate* unmanaged<nint, byte**, byte*, byte*, uint, nint, int> callback, nint argument);

    [LibraryImport(Ssl)]
    public static partial void SSL_CTX_set_info_callback(nint context, delegate* unmanaged<nint, int, int, void> callback);

    [LibraryImport(Ssl)]
    public static partial void SSL_CTX_set_keylog_callback(nint context, delegate* unmanaged<nint, byte*, void> callback);

    // Connections.
    [LibraryImport(Ssl)]
    public static partial nint SSL_new(nint context);

    [LibraryImport(Ssl)]
    public static partial void SSL_free(nint ssl);

    [LibraryImport(Ssl)]
    public static partial void SSL_set_bio(nint ssl, nint read, nint write);

    [LibraryImport(Ssl)]
    public static partial int SSL_set_ex_data(nint ssl, int index, nint data);

    [LibraryImport(Ssl), SuppressGCTransition]
    public static partial nint SSL_get_ex_data(nint ssl, int index);

    [LibraryImport(Ssl)]
    public static partial int SSL_get_ex_data_X509_STORE_CTX_idx();

    [LibraryImport(Ssl)]
    public static partial void SSL_set_accept_state(nint ssl);

    [LibraryImport(Ssl)]
    public static partial void SSL_set_connect_state(nint ssl);

    /// <summary>0 is success, unlike everywhere else.</summary>
    [LibraryImport(Ssl)]
    public static partial int SSL_set_alpn_protos(nint ssl, byte* names, uint length);

    [LibraryImport(Ssl)]
    public static partial void SSL_get0_alpn_selected(nint ssl, byte** name, uint* length);

    [LibraryImport(Ssl)]
    public static partial int SSL_do_handshake(nint ssl);

    [LibraryImport(Ssl), SuppressGCTransition]
    public static partial int SSL_get_error(nint ssl, int result);

    [LibraryImport(Ssl)]
    public static partial nint SSL_alert_desc_string_long(int alert);

    [LibraryImport(Ssl)]
    public static partial nint SSL_get_current_cipher(nint ssl);

    [LibraryImport(Ssl)]
    public static partial ushort SSL_CIPHER_get_protocol_id(nint cipher);

    // Ciphers.
    [LibraryImport(Crypto)]
    public static partial nint EVP_aes_256_gcm();

    [LibraryImport(Crypto)]
    public static partial nint EVP_chacha20_poly1305();

    [LibraryImport(Crypto)]
    public static partial nint EVP_CIPHER_CTX_new();

    [LibraryImport(Crypto)]
    public static partial void EVP_CIPHER_CTX_free(nint context);

    [LibraryImport(Crypto), SuppressGCTransition]
    public static partial int EVP_CIPHER_CTX_ctrl(nint context, int command, int number, byte* bytes);

    [LibraryImport(Crypto), SuppressGCTransition]
    public static partial int EVP_CipherInit_ex(nint context, nint cipher, nint engine, byte* key, byte* nonce, int encrypts);

    [LibraryImport(Crypto)]
    public static partial int EVP_CipherUpdate(nint context, byte* to, int* written, byte* from, int length);

    /// <summary>For a handful of bytes.</summary>
    [LibraryImport(Crypto, EntryPoint = nameof(EVP_CipherUpdate)), SuppressGCTransition]
    public static partial int EVP_CipherUpdateShort(nint context, byte* to, int* written, byte* from, int length);

    [LibraryImport(Crypto), SuppressGCTransition]
    public static partial int EVP_CipherFinal_ex(nint context, byte* to, int* written);

    // Certificates and keys.
    [LibraryImport(Crypto)]
    public static partial nint d2i_X509(nint into, byte** der, nint length);

    [LibraryImport(Crypto)]
    public static partial int i2d_X509(nint certificate, byte** der);

    [LibraryImport(Crypto)]
    public static partial void X509_free(nint certificate);

    [LibraryImport(Crypto)]
    public static partial nint d2i_AutoPrivateKey(nint into, byte** der, nint length);

    [LibraryImport(Crypto)]
    public static partial void EVP_PKEY_free(nint key);

    [LibraryImport(Crypto)]
    public static partial nint X509_STORE_CTX_get_ex_data(nint store, int index);

    [LibraryImport(Crypto)]
    public static partial nint X509_STORE_CTX_get0_cert(nint store);

    [LibraryImport(Crypto)]
    public static partial nint X509_STORE_CTX_get0_untrusted(nint store);

    [LibraryImport(Crypto)]
    public static partial void X509_STORE_CTX_set_error(nint store, int error);

    [LibraryImport(Crypto)]
    public static partial int OPENSSL_sk_num(nint stack);

    [LibraryImport(Crypto)]
    public static partial nint OPENSSL_sk_value(nint stack, int index);

    // BIO: where a connection reads and writes ciphertext.
    [LibraryImport(Crypto)]
    public static partial int BIO_get_new_index();

    [LibraryImport(Crypto, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint BIO_meth_new(int type, string name);

    [LibraryImport(Crypto)]
    public static partial int BIO_meth_set_read(nint method, delegate* unmanaged<nint, byte*, int, int> read);

    [LibraryImport(Crypto)]
    public static partial int BIO_meth_set_write(nint method, delegate* unmanaged<nint, byte*, int, int> write);

    [LibraryImport(Crypto)]
    public static partial int BIO_meth_set_ctrl(nint method, delegate* unmanaged<nint, int, nint, nint, nint> control);

    [LibraryImport(Crypto)]
    public static partial nint BIO_new(nint method);

    [LibraryImport(Crypto)]
    public static partial void BIO_set_init(nint bio, int init);

    [LibraryImport(Crypto)]
    public static partial void BIO_set_data(nint bio, nint data);

    [LibraryImport(Crypto), SuppressGCTransition]
    public static partial nint BIO_get_data(nint bio);

    [LibraryImport(Crypto), SuppressGCTransition]
    public static partial void BIO_set_flags(nint bio, int flags);

    [LibraryImport(Crypto), SuppressGCTransition]
    public static partial void BIO_clear_flags(nint bio, int flags);
}
