using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using Fabric.Identity;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Portable;

/// <summary>A connection between gateways over <see cref="SslStream"/>: on a socket, or through a relay on a stream.</summary>
internal sealed class PortableConnection(GatewayTunnel tunnel, LaneTransport transport, Socket? socket) : GatewayConnection
{
    private SslStream? _tls;
    private PeerCheck? _check;
    private ActivityContext _trace;

    public override IPEndPoint? Remote { get; } = socket?.RemoteEndPoint as IPEndPoint;

    public override long BytesReceived => transport.BytesReceived;

    public override Stream Stream => _tls!;

    public override string PeerRoot => _check?.Root ?? "";

    /// <summary>On a connected socket, which it owns.</summary>
    public static PortableConnection Over(GatewayTunnel tunnel, Socket socket) => new(tunnel, new LaneTransport(socket), socket);

    /// <summary>Through a relay, on a stream, which it owns.</summary>
    /// <param name="tunnel">Whose it is.</param>
    /// <param name="stream">To the relay.</param>
    /// <param name="trace">The span that it was asked for in.</param>
    public static PortableConnection Through(GatewayTunnel tunnel, TunnelStream stream, ActivityContext trace = default) =>
        new(tunnel, new LaneTransport(stream), null) { _trace = trace };

    public override void Obey(ILinkFaults? faults, string peer, string link) => transport.Obey(faults, peer, link);

    public override void Carry(int channel)
    {
        if (socket is not null)
        {
            Sockets.PrepareChannel(socket, channel);
        }
    }

    public override async Task<(string Protocol, GatewayId? Peer)> AcceptAsync(IEnumerable<string> protocols, CancellationToken cancellationToken)
    {
        _check = new PeerCheck(tunnel.Options.Identity, null);
        (_tls, var peer) = await MutualTls.AcceptAsync(transport, tunnel.Options.Identity, _check, protocols, cancellationToken).ConfigureAwait(false);
        return (_tls.NegotiatedApplicationProtocol.ToString(), peer);
    }

    public override async Task<GatewayId> ConnectAsync(string expectedGateway, CancellationToken cancellationToken)
    {
        _check = new PeerCheck(tunnel.Options.Identity, expectedGateway);
        (_tls, var peer) = await MutualTls.ConnectAsync(
            transport, tunnel.Options.Identity, _check, MutualTls.LaneProtocol, cancellationToken).ConfigureAwait(false);
        return peer;
    }

    public override Lane ToLane() => new PortableLane(tunnel, this, transport, _tls!) { Trace = _trace };

    public override void Abort()
    {
        if (socket is not null)
        {
            Sockets.Abort(socket);
        }
    }

    public override async ValueTask DisposeAsync()
    {
        if (_tls is not null)
        {
            await _tls.DisposeAsync().ConfigureAwait(false);
        }

        await transport.DisposeAsync().ConfigureAwait(false);
    }
}
