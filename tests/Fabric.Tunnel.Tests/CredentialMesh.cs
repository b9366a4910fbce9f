using System.Collections.ObjectModel;
using System.Formats.Asn1;
using System.Net.Security;
using System.Reflection;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Identity.Svid;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// A mesh with its real authority, whose keys the test has as well: so it can sign what the authority never would. Sites paris
/// (gateway alpha, which the credentials claim to be), virginia (gateway beta, which judges), oslo, and rome, which was evicted.
/// </summary>
public sealed class CredentialMesh : IDisposable
{
    public const string Domain = "test.example";
    public static readonly GatewayId Alpha = new(Domain, "paris", "alpha");
    public static readonly GatewayId BetaId = new(Domain, "virginia", "beta");

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fabric-svid-");
    private readonly Lazy<CredentialMesh> _other = new(() => new CredentialMesh());

    public CredentialMesh()
    {
        Ca = MeshCa.Create(In("ca"), Domain, TimeProvider.System);
        Assert.Empty(Ca.Prepare(["paris", "virginia", "oslo", "rome"]));
        Beta = Join(BetaId);
        Beta.Accept(TrustAuthority.Open(In("ca"), TimeProvider.System).Evict("rome"), _ => { });
        Root = X509Certificate2.CreateFromPemFile(In("ca/root.crt"), In("ca/root.key"));
    }

    public MeshCa Ca { get; }

    /// <summary>The gateway that judges, as it is in production.</summary>
    public GatewayIdentity Beta { get; }

    public X509Certificate2 Root { get; }

    /// <summary>Another mesh whose root and sites have the same names.</summary>
    public CredentialMesh Other => _other.Value;

    public GatewayIdentity Join(GatewayId id)
    {
        var store = new GatewayKeyStore(In(id.Gateway));
        JoinClient.JoinLocally(Ca.CreateToken(id.Site, id.Gateway), Ca, store, TimeProvider.System);
        return GatewayIdentity.Load(store, TimeProvider.System);
    }

    /// <summary>A site's intermediate with its key.</summary>
    public X509Certificate2 Site(string site) => X509Certificate2.CreateFromPemFile(In($"ca/sites/{site}.crt"), In($"ca/sites/{site}.key"));

    /// <summary>A certificate of alpha that keeps every rule, but for what <paramref name="change"/> does to it.</summary>
    public Draft Leaf(Action<Draft>? change = null, X509Certificate2? issuer = null)
    {
        var draft = new Draft(issuer ?? Site("paris"));
        draft.Set(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        draft.Set(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        draft.Set(Draft.Purposes("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"));
        draft.Set(Draft.Names(true, (Draft.Uri, Alpha.ToString())));
        change?.Invoke(draft);
        return draft;
    }

    /// <summary>An intermediate of paris that keeps every rule, but for what <paramref name="change"/> does to it.</summary>
    public X509Certificate2 Intermediate(Action<Draft>? change = null, X509Certificate2? issuer = null)
    {
        var draft = new Draft(issuer ?? Root) { Subject = new($"OU=site:paris, CN=made by hand {Guid.NewGuid():n}") };
        draft.Set(new X509BasicConstraintsExtension(true, true, 0, critical: true));
        draft.Set(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        draft.Set(Draft.Names(false, (Draft.Uri, $"spiffe://{Domain}")));
        draft.IsIssuer = true;
        change?.Invoke(draft);
        return draft.Sign();
    }

    public string In(string path) => Path.Combine(_folder.FullName, path);

    public void Dispose()
    {
        if (_other.IsValueCreated)
        {
            _other.Value.Dispose();
        }

        Root.Dispose();
        _folder.Delete(recursive: true);
    }
}

/// <summary>A certificate that is about to be signed, and what is sent along with it.</summary>
public sealed class Draft(X509Certificate2 issuer)
{
    public const int Dns = 2;
    public const int Uri = 6;

    private readonly Dictionary<string, X509Extension> _extensions = [];

    public X500DistinguishedName Subject { get; set; } = new("");

    public X509Certificate2 Issuer { get; } = issuer;

    /// <summary>ECDSA or RSA.</summary>
    public AsymmetricAlgorithm Key { get; set; } = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>What signs instead of the issuer's key.</summary>
    public ECDsa? Signer { get; set; }

    public DateTimeOffset From { get; set; } = DateTimeOffset.UtcNow.AddMinutes(-5);

    public DateTimeOffset Until { get; set; } = DateTimeOffset.UtcNow.AddHours(12);

    public IReadOnlyList<X509Certificate2> Sent { get; set; } = [issuer];

    /// <summary>Whether others are to be signed by it.</summary>
    public bool IsIssuer { get; set; }

    /// <summary>Bytes of the finished certificate, and by what they are replaced before it is signed again.</summary>
    public (byte[] From, byte[] To)? Patch { get; set; }

    /// <summary>In place of the extension of the same kind.</summary>
    public void Set(X509Extension extension) => _extensions[extension.Oid!.Value!] = extension;

    public void Remove(string oid) => Assert.True(_extensions.Remove(oid));

    public static X509Extension Purposes(params string[] oids) =>
        new X509EnhancedKeyUsageExtension([.. oids.Select(o => new Oid(o))], critical: false);

    /// <summary>subjectAltName of names of any kind, as they are.</summary>
    public static X509Extension Names(bool critical, params (int Kind, string Text)[] names)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach (var (kind, text) in names)
            {
                writer.WriteCharacterString(UniversalTagNumber.IA5String, text, new Asn1Tag(TagClass.ContextSpecific, kind));
            }
        }

        return new X509Extension("2.5.29.17", writer.Encode(), critical);
    }

    /// <summary>A subject of one part with two values: unit and common name.</summary>
    public static X500DistinguishedName OneNameOf(string unit, string name)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        using (writer.PushSetOf())
        {
            foreach (var (oid, text) in new[] { ("2.5.4.11", unit), ("2.5.4.3", name) })
            {
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier(oid);
                    writer.WriteCharacterString(UniversalTagNumber.UTF8String, text);
                }
            }
        }

        return new X500DistinguishedName(writer.Encode());
    }

    /// <summary>With its private key.</summary>
    public X509Certificate2 Sign()
    {
        var request = Key is RSA rsa ? new CertificateRequest(Subject, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            : new CertificateRequest(Subject, (ECDsa)Key, HashAlgorithmName.SHA256);
        foreach (var extension in _extensions.Values)
        {
            request.CertificateExtensions.Add(extension);
        }

        if (IsIssuer)
        {
            request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        }

        if (Issuer.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Any())
        {
            request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(Issuer, true, false));
        }

        var generator = X509SignatureGenerator.CreateForECDsa(Signer ?? Issuer.GetECDsaPrivateKey()!);
        var signed = request.Create(Issuer.SubjectName, generator, From, Until, RandomNumberGenerator.GetBytes(12));
        var bare = Patch is { } patch ? Patched(signed.RawData, patch.From, patch.To, generator) : signed;
        return Key is RSA own ? bare.CopyWithPrivateKey(own) : bare.CopyWithPrivateKey((ECDsa)Key);
    }

    /// <summary>For a handshake: exactly this, whether or not it makes a chain, which the public way would mend.</summary>
    public SslStreamCertificateContext Show()
    {
        var constructor = typeof(SslStreamCertificateContext).GetConstructors(BindingFlags.NonPublic | BindingFlags.Instance).Single();
        return (SslStreamCertificateContext)constructor.Invoke([Sign(), new ReadOnlyCollection<X509Certificate2>([.. Sent]), null]);
    }

    private static X509Certificate2 Patched(byte[] der, byte[] from, byte[] to, X509SignatureGenerator generator)
    {
        var whole = new AsnReader(der, AsnEncodingRules.DER).ReadSequence();
        var body = whole.ReadEncodedValue().ToArray();
        var at = body.AsSpan().IndexOf(from);
        Assert.True(at >= 0 && from.Length == to.Length);
        to.CopyTo(body, at);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(body);
            writer.WriteEncodedValue(whole.ReadEncodedValue().Span);
            writer.WriteBitString(generator.SignData(body, HashAlgorithmName.SHA256));
        }

        return X509CertificateLoader.LoadCertificate(writer.Encode());
    }
}

/// <summary>Shows one credential, and takes everybody for beta.</summary>
internal sealed class Impostor(SslStreamCertificateContext shown) : IGatewayIdentity
{
    public GatewayId Id => CredentialMesh.Alpha;

    public SslStreamCertificateContext Certificate => shown;

    public SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent) => SvidVerdict.Accept(CredentialMesh.BetaId, []);
}
