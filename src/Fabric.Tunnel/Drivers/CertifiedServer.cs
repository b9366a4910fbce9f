using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;
using Fabric.Identity.Svid;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// Serves connections to service addresses whose clients speak mutual TLS (<see cref="ServiceListener.AsksCertificate"/>): shakes hands, and gives
/// the rest to <see cref="ServiceServer"/>. Handshakes are limited as those of the gateway port are, by a gate of their own: neither takes the
/// other's places. Until one is done, nothing is asked, opened or sent on the client's behalf.
/// </summary>
/// <remarks>TLS 1.3 only, certificates judged by <see cref="IGatewayIdentity.VerifyWorkload"/> alone, no resumption: each connection is a verdict anew.</remarks>
internal sealed class CertifiedServer(GatewayTunnel tunnel)
{
    private readonly HandshakeGate _gate = new(tunnel.Options.Limits);

    private ICertifiedIngress? Ingress => tunnel.Options.Ingress as ICertifiedIngress;

    public async Task ServeAsync(ServiceListener listener, Socket socket)
    {
        var remote = (IPEndPoint)socket.RemoteEndPoint!;
        CertifiedClient client;
        using (var place = _gate.TryEnter(remote.Address, tunnel.Now, out _))
        {
            if (place is null || tunnel.IsDraining || Ingress is null)
            {
                if (place is null)
                {
                    tunnel.Refusals.Add(Refusal.CallerHandshakeLimit);
                }

                Sockets.Abort(socket);
                return;
            }

            client = await ShakeHandsAsync(listener, socket, remote, Ingress).ConfigureAwait(false);
        }

        await using (client.ConfigureAwait(false))
        {
            await tunnel.Ingress.ServeAsync(listener, socket, client).ConfigureAwait(false);
        }
    }

    private async Task<CertifiedClient> ShakeHandsAsync(ServiceListener listener, Socket socket, IPEndPoint remote, ICertifiedIngress ingress)
    {
        var allowed = tunnel.Options.Limits.HandshakeTimeout;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(tunnel.Stopping);
        using var timer = tunnel.Options.Time.CreateTimer(
            static s => ((CancellationTokenSource)s!).Cancel(), limit, allowed, Timeout.InfiniteTimeSpan);
        socket.NoDelay = true;
        var transport = new CertifiedTransport(socket);
        var tls = new SslStream(transport, leaveInnerStreamOpen: false);
        SvidVerdict? verdict = null;
        try
        {
            await tls.AuthenticateAsServerAsync(Options(listener, v => verdict = v), limit.Token).ConfigureAwait(false);
            return new CertifiedClient(tunnel, ingress, socket, tls, transport, remote, verdict!.Workload!);
        }
        catch (Exception error)
        {
            // No alert: SslStream can send none for a verdict of ours, and close_notify would pass for an answer in order.
            Sockets.Abort(socket);
            await tls.DisposeAsync().ConfigureAwait(false);
            if (limit.IsCancellationRequested && !tunnel.Stopping.IsCancellationRequested)
            {
                tunnel.Refusals.Add(Refusal.CallerHandshakeTimeout);
                throw new IOException($"{remote} closed after {allowed.TotalSeconds:0.#} s: its TLS handshake did not end", error);
            }

            tunnel.Refusals.Add(Refusal.CallerHandshakeFailed);
            if (verdict is not { Workload: null })
            {
                throw new IOException($"{remote} closed: {error.GetBaseException().Message}", error);
            }

            var refusal = new CertificateRefusedException(verdict.Rejection, verdict.Reason);
            tunnel.Refusals.AddCertificate(refusal);
            tunnel.Told(() => ingress.Unproven(listener, remote, refusal));
            throw new IOException($"{remote} closed: {refusal.Message}", refusal);
        }
    }

    private SslServerAuthenticationOptions Options(ServiceListener listener, Action<SvidVerdict> judged)
    {
        var identity = tunnel.Options.Identity;
        var options = MeshTls.Server(identity, anonymous: false, listener.Protocols.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        options.AllowTlsResume = false;
        options.RemoteCertificateValidationCallback = (_, shown, chain, _) =>
        {
            var leaf = shown is null ? null : shown as X509Certificate2 ?? new X509Certificate2(shown);
            var verdict = leaf is null ? SvidVerdict.Reject(SvidRejection.NoCertificate, "the client sent no certificate")
                : identity.VerifyWorkload(leaf, chain?.ChainPolicy.ExtraStore ?? []);
            judged(verdict);
            return verdict.Workload is not null;
        };
        return options;
    }
}
