using System.Net;
using System.Net.Sockets;
using Fabric.Identity;

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
        var check = PeerCheck.OfCaller(tunnel.Options.Identity);
        var tls = tunnel.Driver.Secure(socket, check, listener.Protocols.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        try
        {
            await tls.ShakeHandsAsync(limit.Token).ConfigureAwait(false);
            return new CertifiedClient(tunnel, ingress, socket, tls, remote, check.Workload!);
        }
        catch (Exception error)
        {
            await tls.DisposeAsync().ConfigureAwait(false);
            if (limit.IsCancellationRequested)
            {
                Sockets.Abort(socket);
                if (tunnel.Stopping.IsCancellationRequested)
                {
                    throw;
                }

                tunnel.Refusals.Add(Refusal.CallerHandshakeTimeout);
                throw new IOException($"{remote} closed after {allowed.TotalSeconds:0.#} s: its TLS handshake did not end", error);
            }

            tunnel.Refusals.Add(Refusal.CallerHandshakeFailed);
            if (check.Refusal is { } refusal)
            {
                tunnel.Refusals.AddCertificate(refusal);
                tunnel.Told(() => ingress.Unproven(listener, remote, refusal));
            }

            // An alert has left, where there is one: it has to arrive.
            await Sockets.LetGoAsync(socket, tunnel.Options.Time).ConfigureAwait(false);

            throw new IOException($"{remote} closed: {(check.Refusal ?? error).Message}", error);
        }
    }
}
