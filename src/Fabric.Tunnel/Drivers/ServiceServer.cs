using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Drivers;

/// <summary>Serves connections to service addresses: asks <see cref="IIngress"/>, tries its routes in order, joins.</summary>
internal sealed class ServiceServer(GatewayTunnel tunnel, EgressDialer egress)
{
    private readonly ConcurrentDictionary<LocalConnection, byte> _local = new();
    private int _connections;

    private IIngress Ingress => tunnel.Options.Ingress;

    /// <summary>Whether another route may do what that refusal did not.</summary>
    public static bool MayTryNext(StreamCode code) =>
        code is not (StreamCode.PolicyDenied or StreamCode.ApplicationReset or StreamCode.ProtocolError);

    public int Connections => Volatile.Read(ref _connections);

    public IEnumerable<StreamGroup> Local() =>
        _local.Keys.GroupBy(c => c.Open.Service).OrderBy(g => g.Key, StringComparer.Ordinal).Select(g => new StreamGroup(g.Key, null, true, null, g.Count()));

    public int CutLocal(string reason) => _local.Keys.Count(c => c.Refuse(new EgressVerdict.Refuse(StreamCode.Draining, reason)));

    /// <summary>Resets the connections that egress refuses now. Returns how many.</summary>
    public int ReviewLocal() =>
        _local.Keys.Count(c => tunnel.Options.Egress.Review(null, c.Open) is { } refusal && c.Refuse(refusal));

    /// <param name="certified">The client, when it speaks TLS and has proven who it is; null: the socket carries its bytes.</param>
    public async Task ServeAsync(ServiceListener listener, Socket client, CertifiedClient? certified = null)
    {
        if (!TryEnter())
        {
            Sockets.Abort(client);
            return;
        }

        try
        {
            await ServeOneAsync(listener, client, certified).ConfigureAwait(false);
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>A place for one more connection, until <see cref="Leave"/>; false when there is none, or the gateway is draining.</summary>
    public bool TryEnter()
    {
        if (Interlocked.Increment(ref _connections) <= tunnel.Options.Limits.MaxConnections && !tunnel.IsDraining)
        {
            return true;
        }

        Leave();
        return false;
    }

    public void Leave() => Interlocked.Decrement(ref _connections);

    private async Task ServeOneAsync(ServiceListener listener, Socket client, CertifiedClient? certified)
    {
        var began = tunnel.Now;
        var plan = await (certified is null ? Ingress.PlanAsync(listener, (IPEndPoint)client.RemoteEndPoint!, tunnel.Stopping)
            : certified.PlanAsync(listener, tunnel.Stopping)).ConfigureAwait(false);
        var code = StreamCode.NoEndpoint;
        var reason = plan.Refusal ?? "no route";
        for (var i = 0; i < plan.Routes.Length; i++)
        {
            var (route, isLast) = (plan.Routes[i], i == plan.Routes.Length - 1);
            try
            {
                var summary = route.Peer is null
                    ? await ServeLocallyAsync(route.Open, client, began, certified).ConfigureAwait(false)
                    : await ServeThroughAsync(route.Peer, route.Open, isLast, client, began, certified).ConfigureAwait(false);
                tunnel.Told(() => Ingress.Ended(plan, summary));
                return;
            }
            catch (StreamRefusedException refused)
            {
                (code, reason) = (refused.Code, refused.Reason);
                StreamSpans.Refused(route, code, reason);
                if (!MayTryNext(code))
                {
                    break;
                }
            }
            catch (Exception error)
            {
                var failure = new StreamSummary(listener.Service, route.Peer, null, StreamCode.ApplicationReset, error.Message, 0, 0, tunnel.Now - began);
                tunnel.Told(() => Ingress.Ended(plan, failure));
                throw;
            }
        }

        Sockets.Abort(client);
        var refusal = new StreamSummary(
            listener.Service, plan.Routes.Length > 0 ? plan.Routes[^1].Peer : null, null, code, reason, 0, 0, tunnel.Now - began);
        tunnel.Told(() => Ingress.Ended(plan, refusal));
    }

    private async Task<StreamSummary> ServeThroughAsync(
        string peer, StreamOpen open, bool waits, Socket client, TimeSpan began, CertifiedClient? certified)
    {
        var stream = (TunnelStream)await tunnel.OpenAsync(peer, open, waits, tunnel.Stopping).ConfigureAwait(false);
        await (certified?.JoinAsync(stream) ?? Splice.RunAsync(client, stream, tunnel.Pool, tunnel.Options.Time)).ConfigureAwait(false);
        return new StreamSummary(
            open.Service, peer, null, stream.Code, stream.Reason, stream.BytesWritten, stream.BytesRead, tunnel.Now - began);
    }

    /// <summary>
    /// By this gateway's own egress. Throws <see cref="StreamRefusedException"/> before anything was read of the client.
    /// </summary>
    public async Task<StreamSummary> ServeLocallyAsync(StreamOpen open, Socket client, TimeSpan began, CertifiedClient? certified = null)
    {
        // Before it is decided: so a review misses none.
        var connection = new LocalConnection(open, client);
        _local[connection] = 0;
        try
        {
            return await JoinLocallyAsync(connection, client, began, certified).ConfigureAwait(false);
        }
        finally
        {
            _local.TryRemove(connection, out _);
        }
    }

    private async Task<StreamSummary> JoinLocallyAsync(LocalConnection connection, Socket client, TimeSpan began, CertifiedClient? certified)
    {
        var open = connection.Open;
        var verdict = await tunnel.Options.Egress.DecideAsync(null, open, tunnel.Stopping).ConfigureAwait(false);
        switch (verdict)
        {
            case EgressVerdict.Dial dial:
                var (socket, endpoint) = await egress.DialAsync(open, dial, null).ConfigureAwait(false);
                if (socket is null)
                {
                    throw new StreamRefusedException(StreamCode.NoEndpoint, $"none of {dial.Endpoints.Length} endpoints answered");
                }

                using (socket)
                {
                    connection.Join();
                    if ((dial.Carrier ?? certified?.Carrier) is { } carrier)
                    {
                        return await CarryLocallyAsync(carrier, connection, client, socket, endpoint, began, certified).ConfigureAwait(false);
                    }

                    var (sent, received, error) = await Splice.RunAsync(client, socket).ConfigureAwait(false);
                    return Ended(connection, endpoint, sent, received, error, tunnel.Now - began);
                }

            case EgressVerdict.Handle handle:
                connection.Join();
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

    private async Task<StreamSummary> CarryLocallyAsync(
        StreamCarrier carrier, LocalConnection connection, Socket client, Socket socket, IPEndPoint? endpoint, TimeSpan began,
        CertifiedClient? certified)
    {
        var caller = certified?.End ?? StreamEnd.Of(client);
        string? error = null;
        try
        {
            client.NoDelay = true;
            await EgressDialer.CarryAsync(carrier, caller, socket, tunnel.Stopping).ConfigureAwait(false);
            caller.CompleteWrites();
            await (certified?.ClosedAsync() ?? Task.CompletedTask).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            error = failure.Message;
        }

        return Ended(connection, endpoint, caller.BytesRead, caller.BytesWritten, error, tunnel.Now - began);
    }

    private StreamSummary Ended(LocalConnection connection, IPEndPoint? endpoint, long sent, long received, string? error, TimeSpan duration)
    {
        var (code, reason) = connection.Refusal is { } refusal ? (refusal.Code, refusal.Reason)
            : error is null ? (StreamCode.Ok, "") : (StreamCode.ApplicationReset, error);
        var summary = new StreamSummary(connection.Open.Service, null, endpoint, code, reason, sent, received, duration);
        tunnel.Told(() => tunnel.Options.Egress.Ended(null, connection.Open, summary));
        return summary;
    }
}
