using System.Security.Cryptography;

namespace Fabric.Overlay.Keys;

/// <summary>
/// A WireGuard (X25519, RFC 7748) private key: 32 bytes, clamped. It never prints itself, compares in constant time, and is
/// overwritten when disposed.
/// </summary>
public sealed class WireGuardKey : IEquatable<WireGuardKey>, IDisposable
{
    public const int Size = 32;

    private readonly byte[] _bytes;

    private WireGuardKey(byte[] bytes)
    {
        bytes[0] &= 248;
        bytes[31] = (byte)((bytes[31] & 127) | 64);
        _bytes = bytes;
        PublicKey = WireGuardPublicKey.FromBytes(X25519.PublicKey(bytes));
    }

    public WireGuardPublicKey PublicKey { get; }

    public static WireGuardKey Generate() => new(RandomNumberGenerator.GetBytes(Size));

    /// <summary>Copies and clamps. Throws <see cref="OverlayException"/> when it is not 32 bytes.</summary>
    public static WireGuardKey FromBytes(ReadOnlySpan<byte> bytes) => bytes.Length == Size
        ? new(bytes.ToArray())
        : throw new OverlayException(OverlayStage.Key, $"a private key of {bytes.Length} bytes: WireGuard keys have {Size}");

    /// <summary>
    /// 44 characters, as <c>wg genkey</c> prints. Throws <see cref="OverlayException"/>, which does not repeat the text.
    /// </summary>
    public static WireGuardKey FromBase64(string text)
    {
        var bytes = new byte[Size];
        try
        {
            return WireGuardPublicKey.TryDecode(text, bytes)
                ? FromBytes(bytes)
                : throw new OverlayException(OverlayStage.Key,
                    $"a private key of {text.Length} characters is not 32 bytes in base64 (44 characters); try 'wg genkey'");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(bytes);
        }
    }

    /// <summary>The secret, for the kernel or the key file; the caller overwrites every copy.</summary>
    internal ReadOnlySpan<byte> Secret => _bytes;

    public bool Equals(WireGuardKey? other) => other is not null && CryptographicOperations.FixedTimeEquals(_bytes, other._bytes);

    public override bool Equals(object? obj) => Equals(obj as WireGuardKey);

    public override int GetHashCode() => PublicKey.GetHashCode();

    public override string ToString() => $"(private key of {PublicKey})";

    public void Dispose() => CryptographicOperations.ZeroMemory(_bytes);
}
