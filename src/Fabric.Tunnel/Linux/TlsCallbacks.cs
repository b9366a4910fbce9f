using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static Fabric.Tunnel.Linux.Libssl;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// What libssl calls: finds the session, and asks it. An exception never crosses into native code: the session keeps it, and the
/// call fails.
/// </summary>
internal static unsafe class TlsCallbacks
{
    /// <summary>The index that OpenSSL leaves to applications (SSL_set_app_data).</summary>
    private const int AppData = 0;

    private static readonly int _sslOfStore = SSL_get_ex_data_X509_STORE_CTX_idx();
    private static readonly nint _method = NewMethod();

    public static void Set(nint context)
    {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, 0);
        SSL_CTX_set_cert_verify_callback(context, &Verify, 0);
        SSL_CTX_set_alpn_select_cb(context, &SelectProtocol, 0);
        SSL_CTX_set_info_callback(context, &Tell);
        SSL_CTX_set_keylog_callback(context, &TakeSecret);
    }

    /// <summary>From now on calls of this SSL object reach the session behind the handle. The SSL object owns the BIO.</summary>
    public static void Attach(nint ssl, GCHandle<TlsSession> session)
    {
        var data = GCHandle<TlsSession>.ToIntPtr(session);
        TlsLibrary.Require(SSL_set_ex_data(ssl, AppData, data), "the session");
        var bio = TlsLibrary.Require(BIO_new(_method), "a BIO");
        BIO_set_data(bio, data);
        BIO_set_init(bio, 1);
        SSL_set_bio(ssl, bio, bio);
    }

    private static TlsSession Of(nint data) => GCHandle<TlsSession>.FromIntPtr(data).Target;

    private static nint NewMethod()
    {
        var method = TlsLibrary.Require(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fabric"), "a kind of BIO");
        TlsLibrary.Require(BIO_meth_set_read(method, &Read), "a BIO's read");
        TlsLibrary.Require(BIO_meth_set_write(method, &Write), "a BIO's write");
        TlsLibrary.Require(BIO_meth_set_ctrl(method, &Control), "a BIO's control");
        return method;
    }

    [UnmanagedCallersOnly]
    private static int Read(nint bio, byte* buffer, int length)
    {
        BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
        var session = Of(BIO_get_data(bio));
        try
        {
            var count = session.ReceiveCiphertext(new Span<byte>(buffer, length));
            if (count == -ITlsTransport.TryAgain)
            {
                BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
            }

            return Math.Max(count, -1);
        }
        catch (Exception error)
        {
            session.Fault(error.Message);
            return -1;
        }
    }

    [UnmanagedCallersOnly]
    private static int Write(nint bio, byte* bytes, int length)
    {
        BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
        var session = Of(BIO_get_data(bio));
        try
        {
            if (session.TakeCiphertext(new ReadOnlySpan<byte>(bytes, length)))
            {
                return length;
            }

            BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY);
        }
        catch (Exception error)
        {
            session.Fault(error.Message);
        }

        return -1;
    }

    /// <summary>Flushing is the caller's to do, and everything else is 0: not known here, or nothing there.</summary>
    [UnmanagedCallersOnly]
    private static nint Control(nint bio, int command, nint number, nint pointer) => command == BIO_CTRL_FLUSH ? 1 : 0;

    [UnmanagedCallersOnly]
    private static int Verify(nint store, nint argument)
    {
        var session = Of(SSL_get_ex_data(X509_STORE_CTX_get_ex_data(store, _sslOfStore), AppData));
        var good = false;
        try
        {
            good = session.Verify(X509_STORE_CTX_get0_cert(store), X509_STORE_CTX_get0_untrusted(store));
        }
        catch (Exception error)
        {
            session.Fault(error.Message);
        }

        X509_STORE_CTX_set_error(store, good ? X509_V_OK : session.VerifyError);
        return good ? 1 : 0;
    }

    [UnmanagedCallersOnly]
    private static int SelectProtocol(nint ssl, byte** name, byte* nameLength, byte* offered, uint offeredLength, nint argument)
    {
        var session = Of(SSL_get_ex_data(ssl, AppData));
        if (session.Protocols.IsEmpty)
        {
            // Whatever it offers: here nothing goes by it.
            return SSL_TLSEXT_ERR_NOACK;
        }

        try
        {
            var selected = TlsProtocols.Select(session.Protocols, new ReadOnlySpan<byte>(offered, (int)offeredLength));
            if (selected.Length > 0)
            {
                // A part of what was offered: libssl copies it when this returns.
                *name = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(selected));
                *nameLength = (byte)selected.Length;
                return SSL_TLSEXT_ERR_OK;
            }
        }
        catch (Exception error)
        {
            session.Fault(error.Message);
        }

        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    [UnmanagedCallersOnly]
    private static void Tell(nint ssl, int where, int value)
    {
        var session = Of(SSL_get_ex_data(ssl, AppData));
        try
        {
            session.Observe(where, value);
        }
        catch (Exception error)
        {
            session.Fault(error.Message);
        }
    }

    /// <summary>The secrets of the connection, which nobody else is told.</summary>
    [UnmanagedCallersOnly]
    private static void TakeSecret(nint ssl, byte* line)
    {
        var session = Of(SSL_get_ex_data(ssl, AppData));
        try
        {
            session.TakeSecret(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(line));
        }
        catch (Exception error)
        {
            session.Fault(error.Message);
        }
    }
}
