using Fabric.Tunnel.Core;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Drivers;

/// <content>Flows of datagrams: what all of them share.</content>
public sealed partial class GatewayTunnel
{
    private static readonly TimeSpan _oversizeLogged = TimeSpan.FromSeconds(10);

    private readonly CertifiedServer _certified;
    private readonly FlowTable _clientFlows;
    private readonly EndpointFlows _endpointFlows;
    private readonly Lock _oversizeLock = new();
    private TimeSpan? _lastOversizeAt;
    private string _lastOversize = "";

    internal DatagramCounters Datagrams { get; } = new();

    private DatagramStatus DatagramStatus => Datagrams.Status(_clientFlows.Count + _endpointFlows.Count, Volatile.Read(ref _lastOversize));

    private IListener Listener(ServiceListener service) => service.Datagrams
        ? new DatagramListener(this, service, _clientFlows, _endpointFlows)
        : service.AsksCertificate ? new Acceptor(service.Address, service.Place, socket => _certified.ServeAsync(service, socket), Log, Options.Time)
        : Driver.Serve(service);

    internal Task<TunnelFlow> OpenFlowAsync(string peer, StreamOpen open, CancellationToken cancellationToken) =>
        SessionFor(peer, open).OpenFlowAsync(open, cancellationToken);

    /// <summary>A peer opened a flow; in the session's lock.</summary>
    internal void Serve(TunnelFlow flow) => _ = Task.Run(() => _endpointFlows.ServeAsync(flow));

    /// <summary>Counts a datagram that is too large; every ten seconds one of them is told.</summary>
    internal void DropOversize(int size, string limit)
    {
        Datagrams.Drop(DatagramDrop.Oversize);
        lock (_oversizeLock)
        {
            if (_lastOversizeAt is { } last && Now - last < _oversizeLogged)
            {
                return;
            }

            _lastOversizeAt = Now;
            _lastOversize = $"a datagram of {size} bytes is larger than {limit}";
        }

        Options.Log($"{_lastOversize}: it was dropped ({Datagrams.Dropped(DatagramDrop.Oversize)} of them since the start)");
    }
}
