using System.Formats.Asn1;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Svid;

namespace Fabric.Identity;

/// <summary>
/// One state of a gateway's identity: its certificate with the key, what is sent along with it, and whom it trusts. Immutable, and
/// there is no way to have one that was not verified: made by <see cref="Of"/> from what arrived, or by
/// <see cref="GatewayKeyStore"/> from what was verified when it was written.
/// </summary>
public sealed class IdentityState
{
    private readonly X509Certificate2Collection _intermediates;

    internal IdentityState(
        X509Certificate2 leaf, X509Certificate2Collection intermediates, TrustBundle bundle, AuthorityContact? authority)
    {
        if (OperatingSystem.IsWindows())
        {
            // SChannel does not take a key that lives only in memory.
            leaf = X509CertificateLoader.LoadPkcs12(leaf.Export(X509ContentType.Pkcs12), null);
        }

        (Leaf, _intermediates, Bundle, Authority) = (leaf, intermediates, bundle, authority);
        Certificate = SslStreamCertificateContext.Create(leaf, intermediates, offline: true);
    }

    public X509Certificate2 Leaf { get; }

    /// <summary>What is sent along with the leaf.</summary>
    public X509Certificate2Collection Intermediates => _intermediates;
    public SslStreamCertificateContext Certificate { get; }
    public TrustBundle Bundle { get; }

    /// <summary>Where the embedded authority renews it; null: at its folder on this host, or it has another source.</summary>
    public AuthorityContact? Authority { get; }

    /// <summary>From when until when the certificate is valid, UTC.</summary>
    public (DateTimeOffset NotBefore, DateTimeOffset NotAfter) Validity =>
        (Leaf.NotBefore.ToUniversalTime(), Leaf.NotAfter.ToUniversalTime());

    /// <summary>The gateway that the certificate names; null when it names none.</summary>
    internal GatewayId? Names => SpiffeIdOf(Leaf)?.AsGateway();

    /// <summary>
    /// What arrived, verified: by the rules of <see cref="SvidVerifier"/> against the bundle that came along, and that it is for
    /// this key and this gateway. Throws <see cref="JoinException"/> with <see cref="JoinFailure.Protocol"/> otherwise.
    /// </summary>
    /// <param name="key">Stays the caller's to dispose of.</param>
    /// <param name="id">Null: whatever gateway it names.</param>
    public static IdentityState Of(Grant grant, ECDsa key, GatewayId? id, DateTimeOffset now)
    {
        var (chain, bundle) = grant.Accept(id, key, now);
        return new IdentityState(chain[0].CopyWithPrivateKey(key), [.. chain.Skip(1)], bundle, authority: null);
    }

    /// <summary>Whether nothing in it differs.</summary>
    internal bool Same(IdentityState other) => Leaf.RawDataMemory.Span.SequenceEqual(other.Leaf.RawDataMemory.Span)
        && Equal(_intermediates.Select(c => c.RawData), other._intermediates.Select(c => c.RawData))
        && Equal(Bundle.ToDer(), other.Bundle.ToDer());

    /// <summary>
    /// Whether this is a step back from <paramref name="held"/>: begun earlier, ending earlier, while the other still holds under the
    /// bundle that came with this. A copy that lags behind says such a thing, or an old one that somebody put back.
    /// </summary>
    internal bool IsOlderThan(IdentityState held, string trustDomain, DateTimeOffset now) =>
        Leaf.NotBefore < held.Leaf.NotBefore && Leaf.NotAfter < held.Leaf.NotAfter
        && SvidVerifier.Verify(held.Leaf, held._intermediates, trustDomain, Bundle, [], now).Id is not null;

    /// <summary>The SPIFFE ID that is the certificate's only URI name; null when it has another number of them, or another kind.</summary>
    internal static SpiffeId? SpiffeIdOf(X509Certificate2 certificate)
    {
        try
        {
            return UriNames.Read(certificate).Uris is [var uri] && SpiffeId.TryParse(uri, out var id, out _) ? id : null;
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    private static bool Equal(IEnumerable<byte[]> a, IEnumerable<byte[]> b) =>
        a.Select(Convert.ToHexString).SequenceEqual(b.Select(Convert.ToHexString));
}
