using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;

namespace Fabric.Tunnel;

/// <summary>The verdict on the certificate of one connection's peer, with its reason kept for the exception.</summary>
/// <param name="expectedGateway">The name that the certificate must have; null takes any gateway that the identity verifies.</param>
internal sealed class PeerCheck(IGatewayIdentity identity, string? expectedGateway)
{
    /// <summary>Why it was refused, after the words that every driver says before it; null when it was not.</summary>
    public string? Refusal { get; private set; }

    /// <summary>Whom the certificate names; null until it is accepted.</summary>
    public GatewayId? Peer { get; private set; }

    /// <param name="sent">What the peer sent along; the leaf may be among them.</param>
    public bool IsGood(X509Certificate2? leaf, X509Certificate2Collection sent)
    {
        if (leaf is null)
        {
            return Refuse("the peer sent no certificate");
        }

        if (identity.Verify(leaf, sent, out var reason) is not { } peer)
        {
            return Refuse(reason);
        }

        if (expectedGateway is not null && peer.Gateway != expectedGateway)
        {
            return Refuse($"the certificate is that of {peer}: gateway {expectedGateway} was expected there");
        }

        Peer = peer;
        return true;
    }

    /// <summary>The reason of the refusal in place of the TLS library's; the error itself when there was none.</summary>
    public Exception Explain(Exception error) => Refusal is null ? error : new AuthenticationException(Refusal, error);

    private bool Refuse(string reason)
    {
        Refusal = $"certificate refused: {reason}";
        return false;
    }
}
