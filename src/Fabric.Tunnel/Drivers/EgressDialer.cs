using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Drivers;

/// <summary>Serves streams that peers open: asks <see cref="IEgress"/>, dials, joins.</summary>
internal sealed class EgressDialer(GatewayTunnel tunnel, RelayDesk relays)
{
    private static readonly TimeSpan _handlerLinger = TimeSpan.FromSeconds(5);

    private IEgress Egress => tunnel.Options.Egress;

    /// <summary>A stream that a peer opened. Ends with it.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="decided">What egress has said already; null when it is to be asked.</param>
    public async Task ServeAsync(TunnelStream stream, EgressVerdict? decided = null)
    {
        var began = tunnel.Now;
        IPEndPoint? endpoint = null;
        Exception? failed = null;
        try
        {
            var verdict = decided ?? await DecideAsync(stream).ConfigureAwait(false);
            switch (verdict)
            {
                case null:
                    await relays.AcceptAsync(stream).ConfigureAwait(false);
                    break;
                case EgressVerdict.Relay relay:
                    await relays.CarryAsync(stream, relay.Target).ConfigureAwait(false);
                    break;
                case EgressVerdict.Refuse refuse:
                    stream.Reset(refuse.Code, refuse.Reason);
                    break;
                case EgressVerdict.Handle handle:
                    await HandleAsync(stream, handle.Handler).ConfigureAwait(false);
                    break;
                case EgressVerdict.Dial dial:
                    var (socket, reached) = await DialAsync(stream.Request, dial, stream).ConfigureAwait(false);
                    if (socket is null)
                    {
                        stream.Reset(StreamCode.NoEndpoint, $"none of {dial.Endpoints.Length} endpoints of {stream.Request.Service} answered");
                        break;
                    }

                    endpoint = reached;
                    stream.Accept();
                    await (dial.Carrier is { } carrier ? CarryAsync(carrier, stream, socket)
                        : Splice.RunAsync(socket, stream, tunnel.Pool, tunnel.Options.Time)).ConfigureAwait(false);
                    break;
            }
        }
        catch (Exception error)
        {
            failed = error;
            stream.Reset(StreamCode.ApplicationReset, error is OperationCanceledException ? "the gateway is stopping" : error.Message);
        }
        finally
        {
            stream.Decided();
            await stream.DisposeAsync().ConfigureAwait(false);
        }

        tunnel.Told(() => Egress.Ended(stream.Peer, stream.Request, new StreamSummary(
            stream.Request.Service, stream.Peer, endpoint, stream.Code, failed?.Message ?? stream.Reason,
            stream.BytesRead, stream.BytesWritten, tunnel.Now - began)));
    }

    /// <summary>Null: a relay hands over a lane, which the plan decides on and nobody else.</summary>
    private async ValueTask<EgressVerdict?> DecideAsync(TunnelStream stream) => RelayNames.OriginOf(stream.Request) is not null ? null
        : await Egress.DecideAsync(stream.Peer, stream.Request, tunnel.Stopping).ConfigureAwait(false);

    /// <summary>Dials the endpoints in order. Null when none answered, or the stream ended meanwhile.</summary>
    public async Task<(Socket? Socket, IPEndPoint? Endpoint)> DialAsync(StreamOpen open, EgressVerdict.Dial dial, TunnelStream? stream)
    {
        foreach (var endpoint in dial.Endpoints)
        {
            if (stream?.IsReset == true)
            {
                break;
            }

            var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(tunnel.Stopping);
                using var timer = tunnel.Options.Time.CreateTimer(
                    static s => ((CancellationTokenSource)s!).Cancel(), limit, dial.ConnectTimeout, Timeout.InfiniteTimeSpan);
                var connecting = socket.ConnectAsync(endpoint, limit.Token).AsTask();
                if (stream is not null && await Task.WhenAny(connecting, stream.Ended).ConfigureAwait(false) != connecting)
                {
                    await limit.CancelAsync().ConfigureAwait(false);
                }

                await connecting.ConfigureAwait(false);
                StreamSpans.Connected(open, endpoint);
                return (socket, endpoint);
            }
            catch (Exception error) when (error is SocketException or OperationCanceledException)
            {
                socket.Dispose();
                if (stream?.IsReset == true)
                {
                    break;
                }

                var reason = error is OperationCanceledException
                    ? $"no answer in {dial.ConnectTimeout.TotalSeconds:0.###} s" : error.Message;
                StreamSpans.NotConnected(open, endpoint, reason);
                tunnel.Told(() => Egress.DialFailed(open, endpoint, reason));
            }
        }

        return (null, null);
    }

    private async Task CarryAsync(StreamCarrier carrier, TunnelStream stream, Socket socket)
    {
        await CarryAsync(carrier, StreamEnd.Of(stream), socket, tunnel.Stopping).ConfigureAwait(false);
        stream.CompleteWrites();
        await stream.DisposeAsync().ConfigureAwait(false);
        await Task.WhenAny(stream.Ended, Task.Delay(_handlerLinger, tunnel.Options.Time)).ConfigureAwait(false);
    }

    /// <summary>Has the carrier do it; the socket is closed then, and the caller's end reset when it could not end in order.</summary>
    public static async Task CarryAsync(StreamCarrier carrier, StreamEnd caller, Socket socket, CancellationToken stopping)
    {
        using (socket)
        {
            var endpoint = StreamEnd.Of(socket);
            try
            {
                socket.NoDelay = true;
                await carrier(caller, endpoint, stopping).ConfigureAwait(false);
            }
            catch (Exception error)
            {
                endpoint.Reset(error.Message);
                caller.Reset(error.Message);
                throw;
            }
        }
    }

    private async Task HandleAsync(TunnelStream stream, Func<Stream, Task> handler)
    {
        stream.Accept();
        await handler(stream).ConfigureAwait(false);
        stream.CompleteWrites();
        await stream.DisposeAsync().ConfigureAwait(false);
        await Task.WhenAny(stream.Ended, Task.Delay(_handlerLinger, tunnel.Options.Time)).ConfigureAwait(false);
    }
}
