using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Svid;
using Fabric.Protocol.Proto;

namespace Fabric.Identity;

/// <summary>What a gateway receives when it joins or renews: bytes as they were sent, not yet verified.</summary>
/// <param name="Chain">Leaf first, then intermediates, DER.</param>
/// <param name="Bundle">Roots and known intermediates, DER.</param>
/// <param name="Topology">Files of the mesh's topology, by name without folder; empty when the authority has none.</param>
public sealed record Grant(
    IReadOnlyList<byte[]> Chain, IReadOnlyList<byte[]> Bundle, IReadOnlyList<(string Name, string Text)> Topology)
{
    /// <summary>The trust document now, not yet verified; null when there is none.</summary>
    public SignedTrust? Trust { get; init; }

    /// <summary>
    /// Leaf and intermediates, and the bundle, when this grants what was asked: a valid certificate of <paramref name="id"/> (null: of
    /// any gateway) over <paramref name="key"/>. Throws <see cref="JoinException"/> with <see cref="JoinFailure.Protocol"/> otherwise.
    /// </summary>
    internal (List<X509Certificate2> Chain, TrustBundle Bundle) Accept(GatewayId? id, ECDsa key, DateTimeOffset now)
    {
        try
        {
            var chain = Chain.Take(MaxChain).Select(X509CertificateLoader.LoadCertificate).ToList();
            var bundle = TrustBundle.FromDer(Bundle);
            if (chain.Count == 0)
            {
                throw new InvalidDataException("no certificate was sent");
            }

            var domain = id?.TrustDomain ?? IdentityState.SpiffeIdOf(chain[0])?.TrustDomain ?? "";
            var verdict = SvidVerifier.Verify(chain[0], [.. chain.Skip(1)], domain, bundle, [], now);
            using var granted = chain[0].GetECDsaPublicKey();
            return verdict.Id is null ? throw new InvalidDataException(verdict.Reason)
                : id is not null && verdict.Id != id ? throw new InvalidDataException($"it names {verdict.Id}, and {id} was asked for")
                : !granted!.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.ExportSubjectPublicKeyInfo())
                    ? throw new InvalidDataException("it is for another key than was asked for")
                : (chain, bundle);
        }
        catch (Exception e) when (e is InvalidDataException or CryptographicException)
        {
            throw new JoinException(JoinFailure.Protocol, $"the certificate that was granted is not acceptable: {e.Message}", e);
        }
    }

    private const int MaxChain = 8;
}

/// <summary>
/// Why joining or renewing failed, at whatever source. The first eight are the authority's answers, as on the wire.
/// </summary>
public enum JoinFailure
{
    None,
    TokenUnknown,
    TokenUsed,
    TokenExpired,
    BadRequest,
    NotAdmitted,
    Busy,
    Authority,

    /// <summary>
    /// The server is not of the mesh whose root the token pins: a mix-up, or someone in the middle. Nothing was sent.
    /// </summary>
    WrongRoot,

    /// <summary>None of the addresses could be dialled, or TLS failed.</summary>
    Unreachable,

    /// <summary>The server spoke, but not this protocol, or granted what was not asked.</summary>
    Protocol,

    /// <summary>No answer within the limit.</summary>
    Timeout,
}

/// <summary>Joining or renewing failed, for the reason named by <see cref="Failure"/>.</summary>
public sealed class JoinException(JoinFailure failure, string message, Exception? inner = null) : Exception(message, inner)
{
    public JoinFailure Failure { get; } = failure;
}
