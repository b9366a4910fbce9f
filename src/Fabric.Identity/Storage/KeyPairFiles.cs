using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Storage;

/// <summary>
/// A private key and its certificate chain in two files, <c>NAME.key</c> and <c>NAME.crt</c>, replaced together although a
/// rename replaces one: the new key waits as <c>NAME.key.next</c>, the new certificate takes its place, then the key does. Killed
/// between the two, the certificate finds its key in <c>.next</c>, and <see cref="Load"/> finishes the move.
/// </summary>
internal static class KeyPairFiles
{
    public static string KeyPath(string dir, string name) => Path.Combine(dir, name + ".key");

    public static string CertificatePath(string dir, string name) => Path.Combine(dir, name + ".crt");

    private static string NextPath(string dir, string name) => KeyPath(dir, name) + ".next";

    public static void Save(string dir, string name, ECDsa key, IEnumerable<X509Certificate2> chain)
    {
        SafeFile.Write(NextPath(dir, name), key.ExportPkcs8PrivateKeyPem() + "\n");
        SafeFile.Write(CertificatePath(dir, name), string.Concat(chain.Select(c => c.ExportCertificatePem() + "\n")));
        File.Move(NextPath(dir, name), KeyPath(dir, name), overwrite: true);
        SafeFile.SyncFolder(dir);
    }

    /// <summary>
    /// The leaf with its key, and the intermediates. Throws <see cref="FileNotFoundException"/> when there is no pair yet, and
    /// <see cref="InvalidDataException"/> when the files do not belong together or are malformed.
    /// </summary>
    public static (X509Certificate2 Leaf, X509Certificate2Collection Intermediates) Load(string dir, string name)
    {
        var chain = new X509Certificate2Collection();
        try
        {
            chain.ImportFromPem(SafeFile.ReadText(CertificatePath(dir, name)));
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException($"{CertificatePath(dir, name)} holds no PEM certificates: {e.Message}", e);
        }

        if (chain.Count == 0)
        {
            throw new InvalidDataException($"{CertificatePath(dir, name)} holds no certificate");
        }

        var bare = chain[0];
        chain.RemoveAt(0);
        if (TryPair(bare, KeyPath(dir, name)) is { } whole)
        {
            return (whole, chain);
        }

        if (TryPair(bare, NextPath(dir, name)) is { } late)
        {
            File.Move(NextPath(dir, name), KeyPath(dir, name), overwrite: true);
            SafeFile.SyncFolder(dir);
            return (late, chain);
        }

        throw new InvalidDataException($"{KeyPath(dir, name)} is missing or is not the key of {CertificatePath(dir, name)}");
    }

    private static X509Certificate2? TryPair(X509Certificate2 certificate, string keyPath)
    {
        if (!File.Exists(keyPath))
        {
            return null;
        }

        using var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(SafeFile.ReadText(keyPath));
            using var own = certificate.GetECDsaPublicKey();
            if (own is null || !own.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.ExportSubjectPublicKeyInfo()))
            {
                return null;
            }
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            return null;
        }

        return certificate.CopyWithPrivateKey(key);
    }
}
