using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Fabric.Tunnel.Linux;

/// <summary>Whether the machine has the TLS library, and what the library says of an error.</summary>
internal static class TlsLibrary
{
    private static readonly Lazy<string> _missing = new(Probe);

    /// <summary>False, with the reason, where it is not Linux or has no OpenSSL 3. Never throws; found out once.</summary>
    public static bool IsAvailable(out string reason)
    {
        reason = _missing.Value;
        return reason.Length == 0;
    }

    /// <summary>
    /// Takes the first error from the calling thread's queue and empties it; null when there is none. Errors are kept by thread,
    /// and one that stays would be read as that of the thread's next call.
    /// </summary>
    public static string? TakeError()
    {
        var error = Libssl.ERR_get_error();
        Libssl.ERR_clear_error();
        return error == 0 ? null : Marshal.PtrToStringUTF8(Libssl.ERR_reason_error_string(error)) ?? $"error {error:X}";
    }

    /// <summary>What a constructor or a setter returned; throws <see cref="CryptographicException"/> when it is 0.</summary>
    public static nint Require(nint result, string what) =>
        result != 0 ? result : throw new CryptographicException($"libssl refused {what}: {TakeError() ?? "no reason given"}");

    private static string Probe()
    {
        try
        {
            if (!OperatingSystem.IsLinux())
            {
                return "not Linux";
            }

            var version = Libssl.OpenSSL_version_num();
            if (version >> 28 != 3)
            {
                return $"libcrypto.so.3 is of version {version >> 28}, not 3";
            }

            // Without the handlers at the process's end: they would free what other threads still use.
            return Libssl.OPENSSL_init_ssl(Libssl.OPENSSL_INIT_NO_ATEXIT, 0) == 1 ? "" : "libssl.so.3 does not start";
        }
        catch (Exception error) when (error is DllNotFoundException or EntryPointNotFoundException or BadImageFormatException)
        {
            return $"libssl.so.3 and libcrypto.so.3 do not load: install OpenSSL 3 (package libssl3): {error.Message}";
        }
    }
}
