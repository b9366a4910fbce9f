using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Svid;

/// <summary>
/// URI names of a subjectAltName extension (RFC 5280 §4.2.1.6), which the platform's own class does not expose: it knows only
/// DNS names and IP addresses.
/// </summary>
internal static class UriNames
{
    private const string SubjectAltName = "2.5.29.17";
    private static readonly Asn1Tag Uri = new(TagClass.ContextSpecific, 6);

    public static X509Extension Write(string uri, bool critical)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteCharacterString(UniversalTagNumber.IA5String, uri, Uri);
        }

        return new X509Extension(SubjectAltName, writer.Encode(), critical);
    }

    /// <summary>
    /// All URI names, in order, and whether the extension is critical. Throws <see cref="AsnContentException"/> when malformed.
    /// </summary>
    public static (List<string> Uris, bool Critical) Read(X509Certificate2 certificate)
    {
        var uris = new List<string>();
        var critical = false;
        foreach (var extension in certificate.Extensions.Where(e => e.Oid?.Value == SubjectAltName))
        {
            critical |= extension.Critical;
            var reader = new AsnReader(extension.RawData, AsnEncodingRules.DER);
            var names = reader.ReadSequence();
            reader.ThrowIfNotEmpty();
            while (names.HasData)
            {
                if (names.PeekTag().HasSameClassAndValue(Uri))
                {
                    uris.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, Uri));
                }
                else
                {
                    names.ReadEncodedValue();
                }
            }
        }

        return (uris, critical);
    }
}
