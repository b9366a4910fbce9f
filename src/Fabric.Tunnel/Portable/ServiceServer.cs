using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Portable;

/// <summary>Serves connections to service addresses: asks <see cref="IIngress"/>, tries its routes in order, joins.</summary>
internal sealed class ServiceServer(PortableTunnel tunnel, EgressDialer egress)
{
    private int _connections;

    private IIngress Ingress => tunnel.Options.Ingress;

    /// <summary>Whether another route may do what that refusal did not.</summary>
    public static bool MayTryNext(StreamCode code) =>
        code is not (StreamCode.PolicyDenied or StreamCode.ApplicationReset or StreamCode.ProtocolError);

    public int Connections => Volatile.Read(ref _connections);

    public async Task ServeAsync(ServiceListener listener, Socket client)
    {
        var count = Interlocked.Increment(ref _connections);
        try
        {
            if (count > tunnel.Options.Limits.MaxConnections || tunnel.IsDraining)
            {
                Sockets.Abort(client);
                return;
            }

            await ServeOneAsync(listener, client).ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Decrement(ref _connections);
        }
    }

    private async Task ServeOneAsync(ServiceListener listener, Socket client)
    {
        var began = tunnel.Now;
        var plan = await Ingress.PlanAsync(listener, (IPEndPoint)client.RemoteEndPoint!, tunnel.Stopping).ConfigureAwait(false);
        var code = StreamCode.NoEndpoint;
        var reason = plan.Refusal ?? "no route";
        foreach (var route in plan.Routes)
        {
            try
            {
                var summary = route.Peer is null
                    ? await ServeLocallyAsync(route.Open, client, began).ConfigureAwait(false)
                    : await ServeThroughAsync(route.Peer, route.Open, client, began).ConfigureAwait(false);
                tunnel.Told(() => Ingress.Ended(plan, summary));
                return;
            }
            catch (StreamRefusedException refused)
            {
                (code, reason) = (refused.Code, refused.Reason);
                if (!MayTryNext(code))
                {
                    break;
                }
            }
        }

        Sockets.Abort(client);
        var refusal = new StreamSummary(
            listener.Service, plan.Routes.Length > 0 ? plan.Routes[^1].Peer : null, null, code, reason, 0, 0, tunnel.Now - began);
        tunnel.Told(() => Ingress.Ended(plan, refusal));
    }

    private async Task<StreamSummary> ServeThroughAsync(string peer, StreamOpen open, Socket client, TimeSpan began)
    {
        var stream = (TunnelStream)await tunnel.OpenAsync(peer, open, tunnel.Stopping).ConfigureAwait(false);
        await Splice.RunAsync(client, stream, tunnel.Pool, tunnel.Options.Time).ConfigureAwait(false);
        return new StreamSummary(
            open.Service, peer, null, stream.Code, stream.Reason, stream.BytesWritten, stream.BytesRead, tunnel.Now - began);
    }

    private async Task<StreamSummary> ServeLocallyAsync(StreamOpen open, Socket client, TimeSpan began)
    {
        var verdict = await tunnel.Options.Egress.DecideAsync(null, open, tunnel.Stopping).ConfigureAwait(false);
        switch (verdict)
        {
            case EgressVerdict.Dial dial:
                var (socket, endpoint) = await egress.DialAsync(open, dial, null).ConfigureAwait(false);
                if (socket is null)
                {
                    throw new StreamRefusedException(StreamCode.NoEndpoint, $"none of {dial.Endpoints.Length} endpoints answered");
                }

                var (sent, received, error) = await Splice.RunAsync(client, socket).ConfigureAwait(false);
                var summary = new StreamSummary(
                    open.Service, null, endpoint, error is null ? StreamCode.Ok : StreamCode.ApplicationReset, error ?? "",
                    sent, received, tunnel.Now - began);
                tunnel.Told(() => tunnel.Options.Egress.Ended(null, open, summary));
                return summary;
            case EgressVerdict.Handle handle:
                await using (var stream = new NetworkStream(client, ownsSocket: false))
                {
                    await handle.Handler(stream).ConfigureAwait(false);
                }

                return new StreamSummary(open.Service, null, null, StreamCode.Ok, "", 0, 0, tunnel.Now - began);
            case EgressVerdict.Refuse refuse:
                throw new StreamRefusedException(refuse.Code, refuse.Reason);
            default:
                throw new InvalidOperationException($"unknown verdict {verdict}");
        }
    }
}
