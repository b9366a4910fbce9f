using System.Security.Authentication;
using Fabric.Identity;
using Fabric.Identity.Svid;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// What the gateway port does with a connection: TLS, then a lane or another protocol, by ALPN. A connection has a place in the
/// <see cref="HandshakeGate"/> until it is a lane, or until the handler of the other protocol is done. A stream that a relay hands
/// over is such a connection, for a lane alone.
/// </summary>
internal sealed class GatewayPort(GatewayTunnel tunnel)
{
    public async Task ServeAsync(GatewayConnection connection)
    {
        var remote = connection.Remote!;
        using var place = tunnel.Handshakes.TryEnter(remote.Address, tunnel.Now, out var why);
        if (place is null)
        {
            tunnel.Refusals.Add(why);
            connection.Abort();
            throw new IOException($"{remote} closed: " + why switch
            {
                Refusal.HandshakeLimit => $"{tunnel.Options.Limits.MaxHandshakes} handshakes of strangers are under way",
                Refusal.HandshakeAddressLimit => $"{tunnel.Options.Limits.MaxHandshakesPerAddress} handshakes from there are under way",
                _ => $"more than {HandshakeGate.Rate} handshakes a second from there",
            });
        }

        await using (connection.ConfigureAwait(false))
        {
            var (protocol, peer, lane) = await ShakeHandsAsync(connection, remote.ToString(), null, place).ConfigureAwait(false);
            if (lane is not null)
            {
                place.Dispose();
                tunnel.Handshakes.Met(remote.Address);
                await lane.RunAsync(tunnel.Session(peer!.Value.Gateway)!).ConfigureAwait(false);
            }
            else if (tunnel.Options.Protocols.TryGetValue(protocol, out var handler))
            {
                await handler(new ProtocolConnection(connection.Stream, protocol, peer, remote)).ConfigureAwait(false);
            }
            else
            {
                tunnel.Refusals.Add(Refusal.HandshakeFailed);
                throw new AuthenticationException($"{remote} asked for no protocol that is spoken here");
            }
        }
    }

    /// <summary>The relay says who sent it; that gateway's certificate has to say the same.</summary>
    public async Task ServeRelayedAsync(TunnelStream stream, string origin)
    {
        using var place = tunnel.Handshakes.TryEnter(stream.Peer, tunnel.Now, out var why);
        if (place is null)
        {
            tunnel.Refusals.Add(why);
            stream.Reset(StreamCode.LimitReached, $"too many handshakes through {stream.Peer} are under way or begin in a second");
            return;
        }

        stream.Accept();
        await using var connection = PortableConnection.Through(tunnel, stream);
        var (_, _, lane) = await ShakeHandsAsync(connection, $"lane of {origin} through {stream.Peer}", (stream.Peer, origin), place)
            .ConfigureAwait(false);
        place.Dispose();
        await lane!.RunAsync(tunnel.Session(origin)!).ConfigureAwait(false);
    }

    /// <summary>TLS, and HELLO when it is a lane, within the time for both. The connection is closed when either fails.</summary>
    private async Task<(string Protocol, GatewayId? Peer, Lane? Lane)> ShakeHandsAsync(
        GatewayConnection connection, string remote, (string Gateway, string Origin)? relay, HandshakeGate.Place place)
    {
        var allowed = tunnel.Options.Limits.HandshakeTimeout;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(tunnel.Stopping);
        using var timer = tunnel.Options.Time.CreateTimer(
            static s => ((CancellationTokenSource)s!).Cancel(), limit, allowed, Timeout.InfiniteTimeSpan);
        var isSealed = false;
        try
        {
            string[] protocols = [MutualTls.LaneProtocol, .. relay is null ? tunnel.Options.Protocols.Keys : []];
            connection.OwnRoot = tunnel.Options.Identity.Root;
            var (protocol, peer) = await connection.AcceptAsync(protocols, limit.Token).ConfigureAwait(false);
            isSealed = true;
            if (relay is { } through && peer?.Gateway != through.Origin)
            {
                throw new CertificateRefusedException(peer is null ? SvidRejection.NoCertificate : SvidRejection.WrongGateway,
                    $"the certificate is that of {peer?.Gateway ?? "nobody"}");
            }

            var lane = relay is not null || protocol == MutualTls.LaneProtocol
                ? await GreetAsync(connection, peer, relay?.Gateway, place, limit.Token).ConfigureAwait(false) : null;
            return (protocol, peer, lane);
        }
        catch (Exception error) when (limit.IsCancellationRequested && !tunnel.Stopping.IsCancellationRequested)
        {
            tunnel.Refusals.Add(Refusal.HandshakeTimeout);
            var what = isSealed ? "it sent no HELLO" : connection.BytesReceived == 0 ? "it sent nothing" : "its TLS handshake did not end";
            throw new IOException($"{remote} closed after {allowed.TotalSeconds:0.#} s: {what}", error);
        }
        catch (Exception error)
        {
            if (error is not LaneRefusedException)
            {
                tunnel.Refusals.Add(Refusal.HandshakeFailed);
                tunnel.Refusals.AddCertificate(error);
            }

            throw new IOException($"{remote} closed: {error.Message}", error);
        }
    }

    private async Task<Lane> GreetAsync(
        GatewayConnection connection, GatewayId? peer, string? relay, HandshakeGate.Place place, CancellationToken cancellationToken)
    {
        if (peer is not { } id)
        {
            throw new CertificateRefusedException(SvidRejection.NoCertificate, "a lane needs a client certificate, and none was sent");
        }

        var lane = connection.ToLane();
        try
        {
            if (!place.TryName(id.Gateway))
            {
                throw new LaneRefusedException(Refusal.HandshakePeerLimit, StreamCode.LimitReached,
                    $"{tunnel.Options.Limits.MaxHandshakesPerPeer} handshakes of {id.Gateway} are under way");
            }

            var hello = await lane.ReceiveHelloAsync(cancellationToken).ConfigureAwait(false);
            connection.Obey(tunnel.Options.Faults, id.Gateway, hello.Link);
            connection.Carry(hello.Channel);
            // A lane is called after the way that it came, or it is none.
            var session = RelayNames.RelayOf(hello.Link) == relay && tunnel.IsPlanned(id.Gateway, hello.Link) ? tunnel.SessionWith(id.Gateway) : null;
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
