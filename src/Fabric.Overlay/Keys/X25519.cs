using System.Runtime.InteropServices;

namespace Fabric.Overlay.Keys;

/// <summary>X25519 (RFC 7748) by the system's libcrypto, the library that .NET itself uses on Linux.</summary>
internal static partial class X25519
{
    private const int NidX25519 = 1034;

    /// <summary>The public key of a 32-byte private key: X25519(k, 9).</summary>
    public static byte[] PublicKey(ReadOnlySpan<byte> privateKey)
    {
        try
        {
            return Derive(privateKey);
        }
        catch (DllNotFoundException e)
        {
            throw new OverlayException(OverlayStage.Key, "libcrypto.so.3 is missing: install OpenSSL 3 (package libssl3)", 0, e);
        }
    }

    private static byte[] Derive(ReadOnlySpan<byte> privateKey)
    {
        var key = EVP_PKEY_new_raw_private_key(NidX25519, 0, privateKey, (nuint)privateKey.Length);
        if (key == 0)
        {
            throw new OverlayException(OverlayStage.Key, "libcrypto refused the X25519 private key: it must be 32 bytes");
        }

        try
        {
            var result = new byte[32];
            var length = (nuint)result.Length;
            return EVP_PKEY_get_raw_public_key(key, result, ref length) == 1 && length == 32
                ? result
                : throw new OverlayException(OverlayStage.Key, "libcrypto gave no X25519 public key");
        }
        finally
        {
            EVP_PKEY_free(key);
        }
    }

    [LibraryImport("libcrypto.so.3")]
    private static partial nint EVP_PKEY_new_raw_private_key(int type, nint engine, ReadOnlySpan<byte> key, nuint length);

    [LibraryImport("libcrypto.so.3")]
    private static partial int EVP_PKEY_get_raw_public_key(nint key, Span<byte> result, ref nuint length);

    [LibraryImport("libcrypto.so.3")]
    private static partial void EVP_PKEY_free(nint key);
}
