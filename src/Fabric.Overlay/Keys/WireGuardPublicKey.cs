using System.Security.Cryptography;
using System.Text;

namespace Fabric.Overlay.Keys;

/// <summary>A WireGuard (X25519) public key: 32 bytes, not secret.</summary>
public sealed class WireGuardPublicKey : IEquatable<WireGuardPublicKey>
{
    private readonly byte[] _bytes;

    private WireGuardPublicKey(byte[] bytes) => _bytes = bytes;

    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>Copies. Throws <see cref="OverlayException"/> when it is not 32 bytes,.</summary>
    public static WireGuardPublicKey FromBytes(ReadOnlySpan<byte> bytes) => bytes.Length == WireGuardKey.Size
        ? new(bytes.ToArray())
        : throw new OverlayException(OverlayStage.Key,
            $"a public key of {bytes.Length} bytes: WireGuard keys have {WireGuardKey.Size}");

    /// <summary>44 characters, as <c>wg pubkey</c> prints. Throws <see cref="OverlayException"/>.</summary>
    public static WireGuardPublicKey FromBase64(string text)
    {
        var bytes = new byte[WireGuardKey.Size];
        return TryDecode(text, bytes)
            ? new(bytes)
            : throw new OverlayException(OverlayStage.Key,
                $"public key '{Shorten(text)}' is not 32 bytes in base64 (44 characters, as 'wg pubkey' prints)");
    }

    /// <summary>64 hexadecimal digits, as UAPI has them. Throws <see cref="OverlayException"/>.</summary>
    public static WireGuardPublicKey FromHex(string text)
    {
        var bytes = new byte[WireGuardKey.Size];
        return text.Length == 2 * WireGuardKey.Size
            && Convert.FromHexString(text, bytes, out _, out _) == System.Buffers.OperationStatus.Done
            ? new(bytes)
            : throw new OverlayException(OverlayStage.Key, $"public key '{Shorten(text)}' is not 64 hexadecimal digits");
    }

    public string ToBase64() => Convert.ToBase64String(_bytes);

    public string ToHex() => Convert.ToHexStringLower(_bytes);

    public bool Equals(WireGuardPublicKey? other) =>
        other is not null && CryptographicOperations.FixedTimeEquals(_bytes, other._bytes);

    public override bool Equals(object? obj) => Equals(obj as WireGuardPublicKey);

    public override int GetHashCode() => BitConverter.ToInt32(_bytes);

    /// <summary>Base64.</summary>
    public override string ToString() => ToBase64();

    /// <summary>Strict base64 of exactly 32 bytes; spaces and line ends around it are ignored.</summary>
    internal static bool TryDecode(string text, Span<byte> bytes)
    {
        var trimmed = text.AsSpan().Trim();
        return trimmed.Length == 44 && trimmed.IndexOfAny(' ', '\n', '\t') < 0
            && Convert.TryFromBase64Chars(trimmed, bytes, out var written) && written == bytes.Length;
    }

    private static string Shorten(string text)
    {
        var shown = new StringBuilder();
        foreach (var c in text.AsSpan(0, Math.Min(text.Length, 48)))
        {
            shown.Append(char.IsControl(c) ? '?' : c);
        }

        return text.Length > 48 ? shown + "…" : shown.ToString();
    }
}
