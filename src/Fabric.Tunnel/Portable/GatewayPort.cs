using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Fabric.Identity;
using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Portable;

/// <summary>
/// What the gateway port does with a connection: TLS, then a lane or another protocol, by ALPN. A connection has a place in the
/// <see cref="HandshakeGate"/> until it is a lane, or until the handler of the other protocol is done.
/// </summary>
internal sealed class GatewayPort(PortableTunnel tunnel)
{
    public async Task ServeAsync(Socket socket)
    {
        var remote = (IPEndPoint)socket.RemoteEndPoint!;
        using var place = tunnel.Handshakes.TryEnter(remote.Address, tunnel.Now, out var why);
        if (place is null)
        {
            Sockets.Abort(socket);
            throw Closed(remote.ToString(), why);
        }

        Sockets.PrepareLane(socket, 0, 0);
        await ServeAsync(new LaneTransport(socket), place, null, null).ConfigureAwait(false);
    }

    /// <summary>
    /// A stream that a relay hands over is a connection for a lane alone. The relay says who sent it; that gateway's certificate has
    /// to say the same.
    /// </summary>
    public async Task ServeRelayedAsync(TunnelStream stream, string origin)
    {
        using var place = tunnel.Handshakes.TryEnter(stream.Peer, tunnel.Now, out var why) ?? throw Closed(stream.Peer, why);
        await ServeAsync(new LaneTransport(stream), place, stream.Peer, origin).ConfigureAwait(false);
    }

    private IOException Closed(string from, Refusal why)
    {
        tunnel.Refusals.Add(why);
        return new IOException($"{from} closed: " + why switch
        {
            Refusal.HandshakeLimit => $"{tunnel.Options.Limits.MaxHandshakes} handshakes of strangers are under way",
            Refusal.HandshakeAddressLimit => $"{tunnel.Options.Limits.MaxHandshakesPerAddress} handshakes from there are under way",
            _ => $"more than {HandshakeGate.Rate} handshakes a second from there",
        });
    }

    private async Task ServeAsync(LaneTransport transport, HandshakeGate.Place place, string? relay, string? origin)
    {
        var from = relay is null ? $"{transport.Remote}" : $"{origin} through {relay}";
        SslStream? tls = null;
        try
        {
            (tls, var peer, var lane) = await ShakeHandsAsync(transport, from, place, relay, origin).ConfigureAwait(false);
            var protocol = tls.NegotiatedApplicationProtocol.ToString();
            if (lane is not null)
            {
                place.Dispose();
                if (transport.Remote is { } remote)
                {
                    tunnel.Handshakes.Met(remote.Address);
                }

                await lane.RunAsync(tunnel.Session(peer!.Value.Gateway)!).ConfigureAwait(false);
            }
            else if (tunnel.Options.Protocols.TryGetValue(protocol, out var handler))
            {
                await handler(new ProtocolConnection(tls, protocol, peer, transport.Remote!)).ConfigureAwait(false);
            }
            else
            {
                tunnel.Refusals.Add(Refusal.HandshakeFailed);
                throw new AuthenticationException($"{from} asked for no protocol that is spoken here");
            }
        }
        finally
        {
            if (tls is not null)
            {
                await tls.DisposeAsync().ConfigureAwait(false);
            }

            await transport.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>TLS, and HELLO when it is a lane, within the time for both. The connection is closed when either fails.</summary>
    private async Task<(SslStream Tls, GatewayId? Peer, PortableLane? Lane)> ShakeHandsAsync(
        LaneTransport transport, string from, HandshakeGate.Place place, string? relay, string? origin)
    {
        var allowed = tunnel.Options.Limits.HandshakeTimeout;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(tunnel.Stopping);
        using var timer = tunnel.Options.Time.CreateTimer(
            static s => ((CancellationTokenSource)s!).Cancel(), limit, allowed, Timeout.InfiniteTimeSpan);
        SslStream? tls = null;
        try
        {
            var protocols = relay is null ? tunnel.Options.Protocols.Keys.Prepend(MutualTls.LaneProtocol) : [MutualTls.LaneProtocol];
            (tls, var peer) = await MutualTls.AcceptAsync(transport, tunnel.Options.Identity, protocols, limit.Token).ConfigureAwait(false);
            if (origin is not null && peer?.Gateway != origin)
            {
                throw new AuthenticationException($"the certificate is that of {peer?.Gateway ?? "nobody"}");
            }

            var lane = tls.NegotiatedApplicationProtocol.ToString() == MutualTls.LaneProtocol
                ? await GreetAsync(transport, tls, peer, place, relay, limit.Token).ConfigureAwait(false) : null;
            return (tls, peer, lane);
        }
        catch (Exception error) when (limit.IsCancellationRequested && !tunnel.Stopping.IsCancellationRequested)
        {
            tunnel.Refusals.Add(Refusal.HandshakeTimeout);
            var what = tls is not null ? "it sent no HELLO" : transport.BytesReceived == 0 ? "it sent nothing" : "its TLS handshake did not end";
            throw new IOException($"{from} closed after {allowed.TotalSeconds:0.#} s: {what}", error);
        }
        catch (Exception error)
        {
            if (error is not LaneRefusedException)
            {
                tunnel.Refusals.Add(Refusal.HandshakeFailed);
            }

            throw new IOException($"{from} closed: {error.Message}", error);
        }
    }

    private async Task<PortableLane> GreetAsync(
        LaneTransport transport, SslStream tls, GatewayId? peer, HandshakeGate.Place place, string? relay,
        CancellationToken cancellationToken)
    {
        if (peer is not { } id)
        {
            throw new AuthenticationException("a lane needs a client certificate, and none was sent");
        }

        var lane = new PortableLane(tunnel, transport, tls);
        try
        {
            if (!place.TryName(id.Gateway))
            {
                throw new LaneRefusedException(Refusal.HandshakePeerLimit, StreamCode.LimitReached,
                    $"{tunnel.Options.Limits.MaxHandshakesPerPeer} handshakes of {id.Gateway} are under way");
            }

            var hello = await lane.ReceiveHelloAsync(cancellationToken).ConfigureAwait(false);
            transport.Obey(tunnel.Options.Faults, id.Gateway, hello.Link);
            // A lane is called after the way that it came, or it is none.
            var session = RelayNames.RelayOf(hello.Link) == relay && tunnel.IsPlanned(id.Gateway, hello.Link)
                ? tunnel.SessionWith(id.Gateway) : null;
            if (session is null)
            {
                throw new LaneRefusedException(Refusal.LaneRefused, StreamCode.PolicyDenied,
                    $"no lane between {tunnel.Options.Identity.Id.Gateway} and {id.Gateway} over {hello.Link} is planned here");
            }

            if (session.Penalty is { Length: > 0 } penalty)
            {
                throw new LaneRefusedException(Refusal.Penalty, StreamCode.LimitReached, penalty);
            }

            var answer = session.Join(lane, id, hello, null, out var reason)
                ?? throw new LaneRefusedException(Refusal.LaneRefused, StreamCode.SessionLost, reason);
            try
            {
                await lane.SendHelloAsync(answer, cancellationToken).ConfigureAwait(false);
                return lane;
            }
            catch
            {
                session.EndLane(lane, "HELLO could not be answered");
                throw;
            }
        }
        catch (Exception error)
        {
            if (error is LaneRefusedException refused)
            {
                tunnel.Refusals.Add(refused.Kind);
                await lane.RefuseAsync(refused.Code, refused.Message, cancellationToken).ConfigureAwait(false);
            }
            else if (error is FrameException)
            {
                await lane.RefuseAsync(StreamCode.ProtocolError, error.Message, cancellationToken).ConfigureAwait(false);
            }

            await lane.CloseAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>The peer is told, by CLOSE with the code and the message.</summary>
    private sealed class LaneRefusedException(Refusal kind, StreamCode code, string message) : Exception(message)
    {
        public Refusal Kind { get; } = kind;

        public StreamCode Code { get; } = code;
    }
}
