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
    private const string NameConstraints = "2.5.29.30";
    private static readonly Asn1Tag Dns = new(TagClass.ContextSpecific, 2);
    private static readonly Asn1Tag Uri = new(TagClass.ContextSpecific, 6);

    /// <param name="dns">A DNS name beside it, or null.</param>
    public static X509Extension Write(string uri, bool critical, string? dns = null)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            if (dns is not null)
            {
                writer.WriteCharacterString(UniversalTagNumber.IA5String, dns, Dns);
            }

            writer.WriteCharacterString(UniversalTagNumber.IA5String, uri, Uri);
        }

        return new X509Extension(SubjectAltName, writer.Encode(), critical);
    }

    /// <summary>
    /// Name constraints that permit URIs of one host, and DNS names below one domain (RFC 5280 §4.2.1.10); critical, as they must be.
    /// </summary>
    public static X509Extension Constrain(string host, string domain)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
        {
            foreach (var (tag, name) in new[] { (Dns, domain), (Uri, host) })
            {
                using (writer.PushSequence())
                {
                    writer.WriteCharacterString(UniversalTagNumber.IA5String, name, tag);
                }
            }
        }

        return new X509Extension(NameConstraints, writer.Encode(), critical: true);
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
