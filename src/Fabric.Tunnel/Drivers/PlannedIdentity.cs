using System.Collections.Immutable;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;
using Fabric.Identity.Svid;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// The gateway's identity, which believes a certificate only where the plan agrees: everything behind the handshake goes by the gateway's name,
/// and a site's own authority could put any name into a certificate of that site.
/// </summary>
/// <param name="identity">Who this gateway is, and whom it trusts.</param>
/// <param name="sites"><see cref="TunnelPlan.Sites"/> of the plan in force.</param>
internal sealed class PlannedIdentity(IGatewayIdentity identity, Func<ImmutableDictionary<string, string>> sites) : IGatewayIdentity
{
    public GatewayId Id => identity.Id;

    public SslStreamCertificateContext Certificate => identity.Certificate;

    public string Root => identity.Root;

    public SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent)
    {
        var verdict = identity.Verify(leaf, sent);
        return verdict.Id is { } id ? verdict.Of(sites().GetValueOrDefault(id.Gateway)) : verdict;
    }

    public SvidVerdict VerifyWorkload(X509Certificate2 leaf, X509Certificate2Collection sent) => identity.VerifyWorkload(leaf, sent);

    public SvidVerdict? Refuses(GatewayId peer, string root) => identity.Refuses(peer, root);
}
