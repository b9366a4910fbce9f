using System.Collections.Immutable;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Svid;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Trust;

/// <summary>
/// Whom the mesh trusts, in one version (<c>trust.proto</c>): its roots, those that are trusted no more, and the sites and gateways that were
/// evicted. Immutable. What <see cref="Parse"/> returns is well-formed and within its limits; whether it is to be believed is
/// <see cref="TrustRules"/>' matter.
/// </summary>
public sealed record TrustDocument
{
    /// <summary>Of the signed whole, bytes.</summary>
    public const int MaxBytes = 512 << 10;
    public const int MaxRoots = 8;
    public const int MaxWithdrawn = 64;
    public const int MaxEvicted = 4096;

    /// <summary>The last version there can be: numbers of JSON are exact up to it.</summary>
    public const ulong MaxVersion = 1UL << 53;
    private const int MaxSignatures = 4;
    private const int MaxChain = 4;

    public required string TrustDomain { get; init; }

    /// <summary>Counts up from 1.</summary>
    public ulong Version { get; init; }

    /// <summary>When it was signed, UTC, whole seconds.</summary>
    public DateTimeOffset Created { get; init; }

    /// <summary>Roots of the mesh; none where another CA's bundle says it.</summary>
    public ImmutableArray<X509Certificate2> Roots { get; init; } = [];

    /// <summary>For roots that somebody does not know yet: the same key and name, signed by an older root (NewWithOld, RFC 4210 §4.4.1).</summary>
    public ImmutableArray<X509Certificate2> Introductions { get; init; } = [];

    /// <summary>Fingerprints of roots that are not trusted any more.</summary>
    public ImmutableSortedSet<string> Withdrawn { get; init; } = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);

    /// <summary>Fingerprint of the root under which certificates are issued; empty: no matter.</summary>
    public string Issuing { get; init; } = "";

    /// <summary><c>SITE</c>, or <c>SITE/GATEWAY</c>.</summary>
    public ImmutableSortedSet<string> Evicted { get; init; } = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);

    /// <summary>Certificates issued before then are renewed at once; null: none.</summary>
    public DateTimeOffset? RenewBefore { get; init; }

    /// <summary>As it was signed; null for one that was not.</summary>
    public SignedTrust? Signed { get; private init; }

    /// <summary>Whether that gateway, or its site, is out.</summary>
    public bool IsEvicted(string site, string gateway) => !Evicted.IsEmpty && (Evicted.Contains(site) || Evicted.Contains($"{site}/{gateway}"));

    /// <summary>How a certificate is named in documents, reports and status: SHA-256 over its DER, lower-case hex.</summary>
    public static string Fingerprint(X509Certificate2 certificate) => Convert.ToHexStringLower(TrustBundle.Fingerprint(certificate));

    /// <summary>Whether <paramref name="name"/> can be evicted: <c>SITE</c> or <c>SITE/GATEWAY</c>.</summary>
    public static bool IsName(string name) => name.Split('/') is { Length: 1 or 2 } parts && parts.All(p => SpiffeId.IsSegment(p, out _));

    /// <summary>Throws <see cref="InvalidDataException"/>, with value and rule, for what is malformed or over a limit.</summary>
    public static TrustDocument Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > MaxBytes)
        {
            throw new InvalidDataException($"a trust document has at most {MaxBytes} bytes, and this has {bytes.Length}");
        }

        try
        {
            return Of(SignedTrust.Parser.ParseFrom(bytes));
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException($"the trust document is malformed: {e.Message}", e);
        }
    }

    /// <inheritdoc cref="Parse"/>
    public static TrustDocument Of(SignedTrust signed)
    {
        Require(signed.CalculateSize() <= MaxBytes, $"a trust document has at most {MaxBytes} bytes");
        Require(signed.Signatures.Count is > 0 and <= MaxSignatures, $"a trust document has 1 to {MaxSignatures} signatures, and this has {signed.Signatures.Count}");
        Require(signed.Signatures.All(s => s.Chain.Count is > 0 and <= MaxChain), $"a signature has 1 to {MaxChain} certificates");
        try
        {
            var statement = TrustStatement.Parser.ParseFrom(signed.Statement);
            Require(SpiffeId.IsTrustDomain(statement.TrustDomain, out var reason), $"the trust document's trust domain is none: {reason}");
            Require(statement.Version is > 0 and <= MaxVersion, $"version {statement.Version} of a trust document is not from 1 to {MaxVersion}");
            Require(statement.Roots.Count <= MaxRoots && statement.Introductions.Count <= MaxRoots, $"a trust document has at most {MaxRoots} roots");
            Require(statement.Withdrawn.Count <= MaxWithdrawn, $"a trust document withdraws at most {MaxWithdrawn} roots");
            Require(statement.Evicted.Count <= MaxEvicted, $"a trust document evicts at most {MaxEvicted}");
            Require(statement.Withdrawn.Append(statement.Issuing).All(f => f.Length is 32 || (f.IsEmpty && f == statement.Issuing)), "a fingerprint has 32 bytes");
            var bad = statement.Evicted.FirstOrDefault(e => !IsName(e));
            Require(bad is null, $"\"{SpiffeId.Shown(bad)}\" is neither SITE nor SITE/GATEWAY");
            var document = new TrustDocument
            {
                TrustDomain = statement.TrustDomain,
                Version = statement.Version,
                Created = DateTimeOffset.FromUnixTimeSeconds(statement.Created),
                Roots = [.. statement.Roots.Select(r => Authority(r, root: true))],
                Introductions = [.. statement.Introductions.Select(r => Authority(r, root: false))],
                Withdrawn = [.. statement.Withdrawn.Select(Hex)],
                Issuing = Hex(statement.Issuing),
                Evicted = [.. statement.Evicted],
                RenewBefore = statement.RenewBefore == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds(statement.RenewBefore),
                Signed = signed,
            };
            var roots = document.Roots.Select(Fingerprint).ToList();
            Require(!roots.Exists(document.Withdrawn.Contains), "a root of the trust document is withdrawn in it as well");
            Require(document.Withdrawn.IsEmpty || roots.Count > 0, "a trust document that withdraws roots has to name one that stays");
            Require(document.Issuing.Length == 0 || roots.Contains(document.Issuing), "the issuing root is not among those of the trust document");
            return document;
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or ArgumentOutOfRangeException or System.Security.Cryptography.CryptographicException)
        {
            throw new InvalidDataException($"the trust document is malformed: {e.Message}", e);
        }
    }

    /// <summary>What is signed.</summary>
    internal TrustStatement Statement() => new()
    {
        TrustDomain = TrustDomain,
        Version = Version,
        Created = Created.ToUnixTimeSeconds(),
        Roots = { Roots.Select(r => ByteString.CopyFrom(r.RawData)) },
        Introductions = { Introductions.Select(r => ByteString.CopyFrom(r.RawData)) },
        Withdrawn = { Withdrawn.Select(Bytes) },
        Issuing = Bytes(Issuing),
        Evicted = { Evicted },
        RenewBefore = RenewBefore?.ToUnixTimeMilliseconds() ?? 0,
    };

    /// <summary>Whether it says something else, whatever its version and date.</summary>
    internal bool SaysTheSame(TrustDocument other)
    {
        var (mine, theirs) = (Statement(), other.Statement());
        (mine.Version, mine.Created) = (theirs.Version, theirs.Created);
        return mine.Equals(theirs);
    }

    internal TrustDocument With(SignedTrust signed) => this with { Signed = signed };

    private static X509Certificate2 Authority(ByteString der, bool root)
    {
        var certificate = X509CertificateLoader.LoadCertificate(der.Span);
        var constraints = certificate.Extensions.OfType<X509BasicConstraintsExtension>().FirstOrDefault();
        Require(constraints is { CertificateAuthority: true } && TrustBundle.IsSelfIssued(certificate) == root,
            root ? "a root of the trust document is no self-signed CA certificate" : "an introduction of the trust document is no CA certificate of another's");
        return certificate;
    }

    private static string Hex(ByteString bytes) => Convert.ToHexStringLower(bytes.Span);

    private static ByteString Bytes(string hex) => ByteString.CopyFrom(Convert.FromHexString(hex));

    private static void Require(bool good, string reason)
    {
        if (!good)
        {
            throw new InvalidDataException(reason);
        }
    }
}
