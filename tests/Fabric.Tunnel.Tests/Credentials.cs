using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Tunnel.Tests;

/// <summary>One credential, and what a gateway must say of it.</summary>
/// <param name="Code">Of the rejection; null when it is good.</param>
/// <param name="Says">Words of the reason.</param>
public sealed record Credential(string Name, string? Code, string Says, Func<CredentialMesh, Draft> Make)
{
    /// <summary>What the platform's TLS may say instead at the port of the portable driver; null: it asks for a verdict.</summary>
    public string? PlatformSays { get; init; }
}

/// <summary>The table: each credential is good but for one thing.</summary>
public static class Credentials
{
    private const string Names = "2.5.29.17";
    private const string Usage = "2.5.29.15";
    private const string Purposes = "2.5.29.37";
    private const string ServerAuth = "1.3.6.1.5.5.7.3.1";
    private const string ClientAuth = "1.3.6.1.5.5.7.3.2";
    private static readonly string _alpha = CredentialMesh.Alpha.ToString();

    public static IReadOnlyList<Credential> Good { get; } =
    [
        new("by the rules", null, "", m => m.Leaf()),
        new("with a DNS name as well", null, "", m => m.Leaf(d => d.Set(Draft.Names(true, (Draft.Dns, "alpha.paris.test.example"), (Draft.Uri, _alpha))))),
        new("with a subject, and names that are not critical", null, "", m => m.Leaf(d =>
        {
            d.Subject = new("O=alpha");
            d.Set(Draft.Names(false, (Draft.Uri, _alpha)));
        })),
        new("with a third purpose", null, "", m => m.Leaf(d => d.Set(Draft.Purposes(ClientAuth, ServerAuth, "1.3.6.1.5.5.7.3.3")))),
        new("with keyAgreement as well", null, "", m => m.Leaf(d => d.Set(Usages(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyAgreement)))),
        new("by an intermediate of the site made by hand", null, "", m => m.Leaf(issuer: m.Intermediate())),
        new("by an intermediate that names no site", null, "", m => m.Leaf(issuer: m.Intermediate(d => d.Subject = new("CN=Fabric issuing 0123")))),
        new("by an intermediate of other software, without a SPIFFE ID", null, "", m => m.Leaf(issuer: m.Intermediate(d =>
        {
            d.Subject = new("O=Acme, OU=Paris, CN=Vault");
            d.Remove(Names);
        }))),
        new("sent with others, and itself, in no order", null, "", m => m.Leaf(d => d.Sent = [m.Root, m.Site("oslo"), d.Issuer])),
        new("by the root itself", null, "", m => m.Leaf(issuer: m.Root)),
    ];

    public static IReadOnlyList<Credential> Bad { get; } =
    [
        // Who is out.
        new("of an evicted site", "evicted", "site rome was evicted", m => m.Leaf(
            d => d.Set(Draft.Names(true, (Draft.Uri, $"spiffe://{CredentialMesh.Domain}/site/rome/gateway/alpha"))), m.Site("rome"))),

        // Who signed it.
        new("self-signed", "untrusted_chain", "is self-signed", SelfSigned),
        new("forged: the site's name, another key", "untrusted_chain", "does not chain to a root", m => m.Leaf(d => d.Signer = NewKey())) { PlatformSays = "EVP lib" },
        new("another mesh's, with the same names", "untrusted_chain", "does not chain to a root", m => m.Other.Leaf()),
        new("another mesh's, root sent along", "untrusted_chain", "which is no root of the bundle", m => m.Other.Leaf(d => d.Sent = [d.Issuer, m.Other.Root])),
        new("another mesh's root of another name", "untrusted_chain", "which is no root of the bundle", StrangeRoot),
        new("intermediate missing", "issuer_unknown", "the peer must send it along", m => m.Leaf(d => d.Sent = [], m.Intermediate())),
        new("mis-chained: another intermediate sent", "issuer_unknown", "the peer must send it along", m => m.Leaf(d => d.Sent = [m.Site("paris")], m.Intermediate())),
        new("leaf as CA: signed by a gateway", "issuer_not_authority", "is no CA certificate", m => Below(m, m.Leaf(AsIssuer))),
        new("leaf as CA: without basicConstraints", "issuer_not_authority", "is no CA certificate", m => Below(m, m.Leaf(d =>
        {
            AsIssuer(d);
            d.Remove("2.5.29.19");
        }))),
        new("by a CA that may not sign certificates", "issuer_not_authority", "lacks keyCertSign", m =>
            m.Leaf(issuer: m.Intermediate(d => d.Set(Usages(X509KeyUsageFlags.CrlSign))))),
        new("by a CA without keyUsage", "issuer_not_authority", "lacks keyCertSign", m => m.Leaf(issuer: m.Intermediate(d => d.Remove(Usage)))),
        new("pathLen of the site's intermediate broken", "path_length", "allows 0 intermediates below it", m =>
        {
            var sub = m.Intermediate(issuer: m.Site("paris"));
            return m.Leaf(d => d.Sent = [sub, m.Site("paris")], sub);
        }),
        new("pathLen of the root broken", "path_length", "allows 1 intermediates below it", m =>
        {
            var upper = m.Intermediate(d => d.Set(new X509BasicConstraintsExtension(true, false, 0, true)));
            var lower = m.Intermediate(issuer: upper);
            return m.Leaf(d => d.Sent = [lower, upper], lower);
        }),
        new("expired intermediate", "issuer_expired", "is valid from", m => m.Leaf(issuer: m.Intermediate(d =>
        {
            d.From = DateTimeOffset.UtcNow.AddDays(-2);
            d.Until = DateTimeOffset.UtcNow.AddDays(-1);
        }))),
        new("intermediate of tomorrow", "issuer_expired", "is valid from", m => m.Leaf(issuer: m.Intermediate(d =>
        {
            d.From = DateTimeOffset.UtcNow.AddDays(1);
            d.Until = DateTimeOffset.UtcNow.AddDays(2);
        }))),

        // For whom its issuer may sign.
        new("by the intermediate of the site that judges", "issuer_of_another_site", "site virginia, which signs for that site alone", m => m.Leaf(issuer: m.Site("virginia"))),
        new("by the intermediate of a third site", "issuer_of_another_site", "site oslo, which signs for that site alone", m => m.Leaf(issuer: m.Site("oslo"))),
        new("by a site whose name begins alike", "issuer_of_another_site", "site paris2", m => m.Leaf(issuer: m.Intermediate(d => d.Subject = new("OU=site:paris2, CN=x")))),
        new("intermediate of two sites", "issuer_name", "names two sites", m => m.Leaf(issuer: m.Intermediate(d => d.Subject = new("OU=site:paris, OU=site:oslo, CN=x")))),
        new("intermediate of a site in capitals", "issuer_name", "which is no site:NAME", m => m.Leaf(issuer: m.Intermediate(d => d.Subject = new("OU=Site:paris, CN=x")))),
        new("intermediate of no name", "issuer_name", "which is no site:NAME", m => m.Leaf(issuer: m.Intermediate(d => d.Subject = new("OU=site:, CN=x")))),
        new("intermediate with a site in a name of several values", "issuer_name", "a name of several values", m =>
            m.Leaf(issuer: m.Intermediate(d => d.Subject = Draft.OneNameOf("site:paris", "x")))),
        new("intermediate of another trust domain", "issuer_name", "must be of spiffe://test.example", m => IssuerNamed(m, (Draft.Uri, "spiffe://other.example"))),
        new("intermediate whose SPIFFE ID has a path", "issuer_name", "without a path", m => IssuerNamed(m, (Draft.Uri, "spiffe://test.example/site/paris"))),
        new("intermediate with two URI names", "issuer_name", "has 2 URI names", m =>
            IssuerNamed(m, (Draft.Uri, "spiffe://test.example"), (Draft.Uri, "spiffe://other.example"))),
        new("intermediate constrained to another domain", "issuer_name", "name constraints", m => m.Leaf(issuer: m.Intermediate(d =>
            d.Set(new X509Extension("2.5.29.30", [0x30, 0x13, 0xA0, 0x11, 0x30, 0x0F, 0x86, 0x0D, .. "other.example"u8], true))))),
        new("a DNS name of another site", "issuer_name", "name constraints", m =>
            m.Leaf(d => d.Set(Draft.Names(true, (Draft.Dns, "beta.virginia.test.example"), (Draft.Uri, _alpha))))),

        // When.
        new("expired", "expired", "expired at", m => m.Leaf(d =>
        {
            d.From = DateTimeOffset.UtcNow.AddDays(-2);
            d.Until = DateTimeOffset.UtcNow.AddSeconds(-2);
        })),
        new("not yet valid", "not_yet_valid", "compare the clocks", m => m.Leaf(d => d.From = DateTimeOffset.UtcNow.AddHours(1))),

        // Its name.
        new("no names", "no_uri_name", "has no URI name", m => m.Leaf(d => d.Remove(Names))),
        new("a DNS name alone", "no_uri_name", "has no URI name", m => Named(m, (Draft.Dns, "alpha.paris.test.example"))),
        new("the SPIFFE ID as a DNS name", "no_uri_name", "has no URI name", m => m.Leaf(d => d.Set(Draft.Names(true, (Draft.Dns, _alpha))), m.Intermediate())),
        new("an empty list of names", "no_uri_name", "has no URI name", m => Named(m)),
        new("two SPIFFE IDs", "many_uri_names", "has 2 URI names", m => Named(m, (Draft.Uri, _alpha), (Draft.Uri, "spiffe://test.example/site/oslo/gateway/a"))),
        new("the SPIFFE ID twice", "many_uri_names", "has 2 URI names", m => Named(m, (Draft.Uri, _alpha), (Draft.Uri, _alpha))),
        new("another URI as well", "many_uri_names", "has 2 URI names", m => Named(m, (Draft.Uri, "https://test.example/"), (Draft.Uri, _alpha))),
        new("two lists of names", "malformed", "extension 2.5.29.17 twice", m => m.Leaf(d =>
        {
            d.Set(new X509Extension("2.5.29.18", Draft.Names(true, (Draft.Uri, "spiffe://test.example/site/oslo/gateway/a")).RawData, true));
            d.Patch = ([0x06, 0x03, 0x55, 0x1D, 0x12], [0x06, 0x03, 0x55, 0x1D, 0x11]);
        })) { PlatformSays = "invalid certificate" },
        new("names that are no DER", "malformed", "is malformed", m => m.Leaf(d => d.Set(new X509Extension(Names, [0x30, 0x05, 0x86, 0x10, 1], true)))) { PlatformSays = "invalid certificate" },
        new("bytes after the names", "malformed", "is malformed", m => m.Leaf(d => d.Set(new X509Extension(Names, [.. Draft.Names(true, (Draft.Uri, _alpha)).RawData, 0], true)))),
        new("a SPIFFE ID that is not ASCII", "malformed", "is malformed", m => m.Leaf(d =>
            d.Set(new X509Extension(Names, [0x30, 0x04, 0x86, 0x02, 0xC3, 0xA9], true)))),
        new("an https URI", "not_a_spiffe_id", "does not begin with spiffe://", m => Named(m, (Draft.Uri, "https://test.example/site/paris/gateway/alpha"))),
        new("scheme in capitals", "not_a_spiffe_id", "does not begin with spiffe://", m => Named(m, (Draft.Uri, "SPIFFE://test.example/site/paris/gateway/alpha"))),
        new("trust domain in capitals", "not_a_spiffe_id", "contains 'T'", m => Named(m, (Draft.Uri, "spiffe://Test.example/site/paris/gateway/alpha"))),
        new("a port", "not_a_spiffe_id", "contains ':'", m => Named(m, (Draft.Uri, "spiffe://test.example:443/site/paris/gateway/alpha"))),
        new("a user", "not_a_spiffe_id", "contains '@'", m => Named(m, (Draft.Uri, "spiffe://me@test.example/site/paris/gateway/alpha"))),
        new("no trust domain", "not_a_spiffe_id", "trust domain is empty", m => Named(m, (Draft.Uri, "spiffe:///site/paris/gateway/alpha"))),
        new("a trust domain of 256 bytes", "not_a_spiffe_id", "over the limit of 255", m => Named(m, (Draft.Uri, $"spiffe://{new string('a', 256)}/site/paris/gateway/alpha"))),
        new("a query", "not_a_spiffe_id", "contains '?'", m => Named(m, (Draft.Uri, _alpha + "?x"))),
        new("a fragment", "not_a_spiffe_id", "contains '#'", m => Named(m, (Draft.Uri, _alpha + "#x"))),
        new("percent-encoding", "not_a_spiffe_id", "contains '%'", m => Named(m, (Draft.Uri, "spiffe://test.example/site/paris/gateway/%61lpha"))),
        new("a trailing slash", "not_a_spiffe_id", "empty segment", m => Named(m, (Draft.Uri, _alpha + "/"))),
        new("a doubled slash", "not_a_spiffe_id", "empty segment", m => Named(m, (Draft.Uri, "spiffe://test.example//site/paris/gateway/alpha"))),
        new("a dot segment", "not_a_spiffe_id", "the segment \".\"", m => Named(m, (Draft.Uri, "spiffe://test.example/./site/paris/gateway/alpha"))),
        new("a dot-dot segment", "not_a_spiffe_id", "the segment \"..\"", m => Named(m, (Draft.Uri, "spiffe://test.example/site/oslo/../paris/gateway/alpha"))),
        new("a SPIFFE ID of 2,049 bytes", "not_a_spiffe_id", "over the limit of 2048", m => Named(m, (Draft.Uri, _alpha + new string('a', 2049 - _alpha.Length)))),
        new("another trust domain", "foreign_trust_domain", "is not of trust domain test.example", m => Named(m, (Draft.Uri, "spiffe://other.example/site/paris/gateway/alpha"))),
        new("our trust domain with a suffix", "foreign_trust_domain", "is not of trust domain", m => Named(m, (Draft.Uri, "spiffe://test.example.evil/site/paris/gateway/alpha"))),
        new("a part of our trust domain", "foreign_trust_domain", "is not of trust domain", m => Named(m, (Draft.Uri, "spiffe://paris.test.example/site/paris/gateway/alpha"))),
        new("the trust domain itself", "not_a_gateway", "names no gateway", m => Named(m, (Draft.Uri, "spiffe://test.example"))),
        new("a workload", "not_a_gateway", "names no gateway", m => Named(m, (Draft.Uri, "spiffe://test.example/site/paris/workload/alpha"))),
        new("a path that goes on", "not_a_gateway", "names no gateway", m => Named(m, (Draft.Uri, _alpha + "/x"))),
        new("a path in capitals", "not_a_gateway", "names no gateway", m => Named(m, (Draft.Uri, "spiffe://test.example/Site/paris/gateway/alpha"))),
        new("no subject, and names that are not critical", "subject_name_not_critical", "must be critical", m => m.Leaf(d => d.Set(Draft.Names(false, (Draft.Uri, _alpha))))),

        // What it is for.
        new("CA as leaf", "is_authority", "cA=true", m => m.Leaf(d => d.Set(new X509BasicConstraintsExtension(true, true, 0, true)), m.Root)),
        new("the site's intermediate as leaf", "not_a_gateway", "names no gateway", m => m.Leaf(d =>
        {
            d.Set(new X509BasicConstraintsExtension(true, true, 0, true));
            d.Set(Usages(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign));
            d.Set(Draft.Names(true, (Draft.Uri, "spiffe://test.example")));
        }, m.Root)),
        new("no keyUsage", "key_usage", "keyUsage must be critical", m => m.Leaf(d => d.Remove(Usage))),
        new("contentCommitment alone", "key_usage", "digitalSignature", m => m.Leaf(d => d.Set(Usages(X509KeyUsageFlags.NonRepudiation)))),
        new("keyUsage that is not critical", "key_usage", "must be critical", m => m.Leaf(d => d.Set(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, false)))),
        new("keyCertSign as well", "key_usage", "without keyCertSign", m => m.Leaf(d => d.Set(Usages(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyCertSign)))),
        new("cRLSign as well", "key_usage", "without keyCertSign and cRLSign", m => m.Leaf(d => d.Set(Usages(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.CrlSign)))),
        new("no purposes", "extended_key_usage", "both serverAuth and clientAuth", m => m.Leaf(d => d.Remove(Purposes))),
        new("for servers alone", "extended_key_usage", "both serverAuth and clientAuth", m => m.Leaf(d => d.Set(Draft.Purposes(ServerAuth)))),
        new("for clients alone", "extended_key_usage", "both serverAuth and clientAuth", m => m.Leaf(d => d.Set(Draft.Purposes(ClientAuth)))),
        new("for signing code", "extended_key_usage", "both serverAuth and clientAuth", m => m.Leaf(d => d.Set(Draft.Purposes("1.3.6.1.5.5.7.3.3")))),
        new("for any purpose", "extended_key_usage", "both serverAuth and clientAuth", m => m.Leaf(d => d.Set(Draft.Purposes("2.5.29.37.0")))),
        new("a critical extension that nobody knows", "untrusted_chain", "does not chain", m => m.Leaf(d => d.Set(new X509Extension("1.3.6.1.4.1.99999.1", [5, 0], true)))),

        // Its key.
        new("P-384", "key_type", "must be ECDSA on P-256", m => m.Leaf(d => d.Key = ECDsa.Create(ECCurve.NamedCurves.nistP384))),
        new("P-521", "key_type", "must be ECDSA on P-256", m => m.Leaf(d => d.Key = ECDsa.Create(ECCurve.NamedCurves.nistP521))),
        new("RSA", "key_type", "must be ECDSA on P-256", m => m.Leaf(d => d.Key = RSA.Create(2048))),
    ];

    private static ECDsa NewKey() => ECDsa.Create(ECCurve.NamedCurves.nistP256);

    private static X509KeyUsageExtension Usages(X509KeyUsageFlags flags) => new(flags, critical: true);

    private static Draft Named(CredentialMesh mesh, params (int Kind, string Text)[] names) =>
        mesh.Leaf(d => d.Set(Draft.Names(true, names)));

    private static Draft IssuerNamed(CredentialMesh mesh, params (int Kind, string Text)[] names) =>
        mesh.Leaf(issuer: mesh.Intermediate(d => d.Set(Draft.Names(false, names))));

    /// <summary>A gateway's certificate with a subject, so that others can name it as their issuer.</summary>
    private static void AsIssuer(Draft draft) => (draft.Subject, draft.IsIssuer) = (new("O=gateway alpha"), true);

    private static Draft Below(CredentialMesh mesh, Draft gateway)
    {
        var signer = gateway.Sign();
        return mesh.Leaf(d => d.Sent = [signer, gateway.Issuer], signer);
    }

    private static Draft SelfSigned(CredentialMesh mesh)
    {
        var key = NewKey();
        var self = new CertificateRequest("O=alpha", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return mesh.Leaf(d => (d.Subject, d.Key, d.Sent) = (new("O=alpha"), key, []), self);
    }

    private static Draft StrangeRoot(CredentialMesh mesh)
    {
        var key = NewKey();
        var request = new CertificateRequest("CN=root of nobody", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(Usages(X509KeyUsageFlags.KeyCertSign));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        return mesh.Leaf(issuer: request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1)));
    }
}
