using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Drivers;

/// <summary>Serves flows that peers open: asks <see cref="IEgress"/> once per flow, connects a socket, joins.</summary>
internal sealed class EndpointFlows(GatewayTunnel tunnel)
{
    private readonly FlowTable _table = new(tunnel);

    private IEgress Egress => tunnel.Options.Egress;

    public int Count => _table.Count;

    /// <summary>A flow that a peer opened. Ends with it.</summary>
    public async Task ServeAsync(TunnelFlow far)
    {
        var began = tunnel.Now;
        EndpointFlow? flow = null;
        string? reason = null;
        try
        {
            var (socket, idle) = await ConnectAsync(far.Peer, far.Request).ConfigureAwait(false);
            flow = new EndpointFlow(tunnel, _table, far, socket, idle);
            if (!_table.TryAdd(flow))
            {
                throw new StreamRefusedException(StreamCode.LimitReached, $"{tunnel.Options.Limits.MaxFlows} flows are open");
            }

            far.Accept();
            reason = await flow.RunAsync(Egress).ConfigureAwait(false);
        }
        catch (StreamRefusedException refused)
        {
            far.Reset(refused.Code, refused.Reason);
        }
        catch (Exception error)
        {
            far.Reset(StreamCode.ApplicationReset, error is OperationCanceledException ? "the gateway is stopping" : error.Message);
        }
        finally
        {
            flow?.Dispose();
            far.Decided();
            await far.DisposeAsync().ConfigureAwait(false);
        }

        tunnel.Told(() => Egress.Ended(far.Peer, far.Request, new StreamSummary(
            far.Request.Service, far.Peer, flow?.Endpoint, far.Code, far.Reason.Length > 0 ? far.Reason : reason ?? "",
            flow?.BytesToEndpoint ?? 0, flow?.BytesToClient ?? 0, tunnel.Now - began)));
    }

    /// <summary>A socket to the first endpoint that there is a way to. Throws <see cref="StreamRefusedException"/>.</summary>
    public async Task<(EndpointSocket Socket, TimeSpan Idle)> ConnectAsync(string? peer, StreamOpen open)
    {
        var verdict = await Egress.DecideAsync(peer, open, tunnel.Stopping).ConfigureAwait(false);
        switch (verdict)
        {
            case EgressVerdict.Dial dial:
                foreach (var endpoint in dial.Endpoints)
                {
                    try
                    {
                        return (new EndpointSocket(tunnel, endpoint), dial.FlowIdle);
                    }
                    catch (SocketException error)
                    {
                        tunnel.Told(() => Egress.DialFailed(open, endpoint, error.Message));
                    }
                }

                throw new StreamRefusedException(StreamCode.NoEndpoint, $"none of {dial.Endpoints.Length} endpoints of {open.Service} can be reached");
            case EgressVerdict.Refuse refuse:
                throw new StreamRefusedException(refuse.Code, refuse.Reason);
            default:
                throw new StreamRefusedException(StreamCode.NoService, $"{open.Service} takes no datagrams");
        }
    }

    public void Dispose() => _table.Dispose();

    private sealed class EndpointFlow(GatewayTunnel tunnel, FlowTable table, TunnelFlow far, EndpointSocket socket, TimeSpan idle)
        : Flow(tunnel, idle), IDisposable
    {
        private volatile string? _reason;

        public IPEndPoint Endpoint => socket.Endpoint;

        /// <summary>Carries until the flow ends. Returns why, when this side ended it.</summary>
        public async Task<string?> RunAsync(IEgress egress)
        {
            var answers = AnswersAsync(egress);
            while (await far.WaitAsync().ConfigureAwait(false))
            {
                while (far.TryTake(out var datagram))
                {
                    ToEndpoint(datagram.Span);
                    datagram.Release();
                }
            }

            Dispose();
            await answers.ConfigureAwait(false);
            return _reason;
        }

        private async Task AnswersAsync(IEgress egress)
        {
            if (await socket.RunAsync(this).ConfigureAwait(false) is { } failure)
            {
                Tunnel.Told(() => egress.DialFailed(far.Request, Endpoint, failure));
                far.Reset(StreamCode.NoEndpoint, $"endpoint {Endpoint}: {failure}");
            }
        }

        public override void ToEndpoint(ReadOnlySpan<byte> datagram)
        {
            CountToEndpoint(datagram.Length);
            table.Touch(this);
            socket.Send(datagram);
        }

        public override void ToClient(ReadOnlySpan<byte> datagram)
        {
            CountToClient(datagram.Length);
            table.Touch(this);
            far.Send(datagram);
        }

        public override void End(string reason)
        {
            _reason ??= reason;
            far.Close();
            socket.Dispose();
        }

        public void Dispose()
        {
            table.Remove(this);
            socket.Dispose();
        }
    }
}
