using System.Buffers.Text;
using System.Security.Cryptography;

namespace Fabric.Testing;

/// <summary>Secrets that lie on a disk, and what they would look like where they must not be.</summary>
public static class Secrets
{
    /// <summary>Keys in the folder's files (<c>*.key*</c>), 32 bytes each: the secret number of a certificate's, and WireGuard's, which is in base64.</summary>
    public static IEnumerable<byte[]> Below(string folder) => !Directory.Exists(folder) ? []
        : Directory.EnumerateFiles(folder, "*.key*", SearchOption.AllDirectories).Select(file =>
        {
            var text = File.ReadAllText(file);
            if (!text.Contains("PRIVATE KEY", StringComparison.Ordinal))
            {
                return Convert.FromBase64String(text.Trim());
            }

            using var key = ECDsa.Create();
            key.ImportFromPem(text);
            return key.ExportParameters(includePrivateParameters: true).D!;
        });

    /// <summary>What 32 bytes look like in text, wherever in a longer text in base64 they begin; parts of it are enough to be found.</summary>
    public static IEnumerable<string> Shapes(byte[] secret)
    {
        yield return Convert.ToHexString(secret.AsSpan(0, 12));
        yield return Convert.ToHexString(secret.AsSpan(secret.Length - 12));
        for (var skipped = 0; skipped < 3; skipped++)
        {
            // Whole groups of three bytes: the same four characters wherever they stand.
            var part = secret[skipped..(skipped + (secret.Length - skipped) / 3 * 3)];
            yield return Convert.ToBase64String(part)[..20];
            yield return Base64Url.EncodeToString(part)[..20];
        }

        yield return string.Join(", ", secret.Take(8));
        yield return string.Join(",", secret.Take(8));
    }
}
