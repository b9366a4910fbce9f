using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Sources;

/// <summary>Text of others.</summary>
internal static class Pem
{
    /// <summary>All certificates in it, in order. Throws <see cref="JoinException"/> with <see cref="JoinFailure.Protocol"/> when one is malformed.</summary>
    /// <param name="what">Path or field, for the error.</param>
    public static X509Certificate2Collection Certificates(string what, string text)
    {
        var all = new X509Certificate2Collection();
        try
        {
            all.ImportFromPem(text);
        }
        catch (CryptographicException e)
        {
            throw new JoinException(JoinFailure.Protocol, $"{what} holds no certificates as PEM: {e.Message}", e);
        }

        return all;
    }
}
