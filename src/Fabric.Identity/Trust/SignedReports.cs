using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Fabric.Identity.Svid;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Trust;

/// <summary>
/// What a gateway says of whom it trusts, signed by the key of its certificate: whoever hands it on can keep it back, and cannot change it, nor
/// make up that of another. Which of two is newer, its <see cref="GatewayTrust.Version"/> and <see cref="GatewayTrust.Reported"/> say, which are
/// signed with the rest.
/// </summary>
public static class SignedReports
{
    /// <summary>Of the statement, bytes: 64 roots have 2,176.</summary>
    public const int MaxStatement = 8 << 10;

    /// <summary>Of one certificate, bytes.</summary>
    private const int MaxCertificate = 8 << 10;
    private const int MaxChain = 4;
    private const int MaxRoots = 64;

    /// <summary>A signature is over this, a zero byte, and the statement: it can be none over anything else.</summary>
    private static readonly byte[] _context = Encoding.ASCII.GetBytes("fabric-report/1\0");

    internal static SignedReport Sign(GatewayTrust report, IdentityState state)
    {
        var statement = report.ToByteArray();
        using var key = state.Leaf.GetECDsaPrivateKey();
        return new SignedReport
        {
            Statement = ByteString.CopyFrom(statement),
            Chain = { state.Intermediates.Take(MaxChain - 1).Prepend(state.Leaf).Select(c => ByteString.CopyFrom(c.RawData)) },
            Signature = ByteString.CopyFrom(key!.SignData([.. _context, .. statement], HashAlgorithmName.SHA256)),
        };
    }

    /// <summary>
    /// What it says, whoever signed it: for who looks whether it is worth the proof. Throws <see cref="TrustRefusedException"/> for what is
    /// malformed or over a limit.
    /// </summary>
    public static GatewayTrust Read(SignedReport signed)
    {
        if (signed.Statement.Length > MaxStatement || signed.Chain.Count is 0 or > MaxChain || signed.Chain.Any(c => c.Length > MaxCertificate))
        {
            throw new TrustRefusedException($"a report has at most {MaxStatement} bytes, and 1 to {MaxChain} certificates of at most {MaxCertificate} bytes");
        }

        try
        {
            var report = GatewayTrust.Parser.ParseFrom(signed.Statement);
            return !SpiffeId.IsSegment(report.Site, out var reason) || !SpiffeId.IsSegment(report.Gateway, out reason)
                ? throw new TrustRefusedException($"a report is of no gateway: {reason}")
                : report.Roots.Count > MaxRoots ? throw new TrustRefusedException($"a report names at most {MaxRoots} roots, and this names {report.Roots.Count}")
                : report;
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new TrustRefusedException($"a report is malformed: {e.Message}");
        }
    }

    /// <summary>Throws <see cref="TrustRefusedException"/> unless the gateway that the report is about has signed it.</summary>
    /// <param name="signed">What <see cref="Read"/> took.</param>
    /// <param name="report">What that returned.</param>
    /// <param name="verify">The verdict on a gateway's certificate, with those sent along.</param>
    internal static void Check(SignedReport signed, GatewayTrust report, Func<X509Certificate2, X509Certificate2Collection, SvidVerdict> verify)
    {
        var name = $"{report.Site}/{report.Gateway}";
        var chain = new X509Certificate2Collection();
        try
        {
            foreach (var certificate in signed.Chain)
            {
                chain.Add(X509CertificateLoader.LoadCertificate(certificate.Span));
            }

            // First: it is cheaper than a chain.
            using var key = chain[0].GetECDsaPublicKey();
            if (!SvidVerifier.IsP256(key) || !key!.VerifyData([.. _context, .. signed.Statement.Span], signed.Signature.Span, HashAlgorithmName.SHA256))
            {
                throw new TrustRefusedException($"the report of {name} has a wrong signature");
            }
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException or ArgumentException or InvalidOperationException)
        {
            throw new TrustRefusedException($"the certificate of the report of {name} is malformed: {e.Message}");
        }

        var verdict = verify(chain[0], [.. chain.Skip(1)]);
        if (verdict.Id is not { } signer)
        {
            throw new TrustRefusedException($"the report of {name} was signed by nobody who is trusted here: {verdict.Reason} [{SvidVerdict.CodeOf(verdict.Rejection)}]");
        }

        if ((signer.Site, signer.Gateway) != (report.Site, report.Gateway))
        {
            throw new TrustRefusedException($"the report of {name} was signed by {signer.Site}/{signer.Gateway}: each gateway speaks for itself alone");
        }
    }
}
