using System.Net;
using Fabric.Identity;
using Fabric.Identity.Svid;

namespace Fabric.Tunnel;

/// <summary>How the importing gateway knows who calls. It stays there: nothing of it is on the wire.</summary>
public enum CallerProof
{
    /// <summary>By the source address.</summary>
    Address,

    /// <summary>By the user or cgroup of a process of the gateway's machine.</summary>
    Process,

    /// <summary>By the X.509-SVID that it showed, and whose key it has.</summary>
    Certificate,
}

/// <summary>An <see cref="IIngress"/> that takes clients who show certificates (<see cref="ServiceListener.AsksCertificate"/>). Without it they are refused.</summary>
public interface ICertifiedIngress : IIngress
{
    /// <summary>As <see cref="IIngress.PlanAsync"/>, for a client that has proven who it is.</summary>
    ValueTask<IngressPlan> PlanAsync(ServiceListener listener, IPEndPoint client, SpiffeId caller, CancellationToken cancellationToken);

    /// <summary>A client was refused, and its connection reset: it showed no certificate, or not that of a workload of this site.</summary>
    void Unproven(ServiceListener listener, IPEndPoint client, CertificateRefusedException refusal);
}
