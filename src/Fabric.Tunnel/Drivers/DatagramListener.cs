using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// The UDP socket on a service address: sorts what clients send into flows, and sends the answers from that address.
/// </summary>
internal sealed class DatagramListener(GatewayTunnel tunnel, ServiceListener service, FlowTable table, EndpointFlows endpoints) : IListener
{
    private const int Buffers = 1024 * 1024;

    private static readonly TimeSpan _errorPause = TimeSpan.FromMilliseconds(100);

    private readonly ConcurrentDictionary<SocketAddress, ClientFlow> _flows = new();
    private readonly CancellationTokenSource _stop = new();
    private Socket? _socket;
    private IPEndPoint? _bound;
    private string? _error;
    private Task _loop = Task.CompletedTask;

    public ServiceListener Service => service;

    public ListenerStatus Status => new($"{service.Place}/udp", _bound ?? service.Address, _socket is not null, _error);

    public void TryOpen()
    {
        if (_socket is not null)
        {
            return;
        }

        var socket = new Socket(service.Address.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { Blocking = false };
        try
        {
            socket.ReceiveBufferSize = Buffers;
            socket.SendBufferSize = Buffers;
            socket.Bind(service.Address);
            _bound = (IPEndPoint)socket.LocalEndPoint!;
            _error = null;
            _socket = socket;
            _loop = Task.Run(() => ReceiveLoopAsync(socket));
        }
        catch (SocketException error)
        {
            socket.Dispose();
            _error = $"cannot listen on {service.Address}/udp: {error.Message}";
        }
    }

    private async Task ReceiveLoopAsync(Socket socket)
    {
        var buffer = GC.AllocateUninitializedArray<byte>(ushort.MaxValue, pinned: true);
        var client = new SocketAddress(socket.AddressFamily);
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var size = await socket.ReceiveFromAsync(buffer, SocketFlags.None, client).ConfigureAwait(false);
                Received(client, buffer.AsSpan(0, size));
            }
            catch (SocketException error) when (error.SocketErrorCode == SocketError.ConnectionReset)
            {
                // Windows says so of an answer to a client that is gone.
            }
            catch (SocketException error) when (!_stop.IsCancellationRequested)
            {
                tunnel.Log.Write($"{service.Service} on {service.Address}/udp: {error.Message}");
                await Task.Delay(_errorPause, tunnel.Options.Time).ConfigureAwait(false);
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private void Received(SocketAddress client, ReadOnlySpan<byte> datagram)
    {
        if (datagram.Length > FrameHeader.MaxDatagram)
        {
            tunnel.DropOversize(datagram.Length, $"the {FrameHeader.MaxDatagram} bytes that a frame carries, to {service.Service}:{service.Port}");
        }
        else if (_flows.TryGetValue(client, out var flow) || TryBegin(client, out flow))
        {
            flow.ToEndpoint(datagram);
        }
    }

    private bool TryBegin(SocketAddress client, out ClientFlow flow)
    {
        var address = new SocketAddress(client.Family, client.Size);
        client.Buffer[..client.Size].CopyTo(address.Buffer);
        flow = new ClientFlow(tunnel, this, address, table);
        if (tunnel.IsDraining || !table.TryAdd(flow))
        {
            tunnel.Datagrams.Drop(tunnel.IsDraining ? DatagramDrop.Refused : DatagramDrop.FlowLimit);
            return false;
        }

        _flows[address] = flow;
        var begun = flow;
        _ = Task.Run(() => begun.ServeAsync(endpoints));
        return true;
    }

    public void Forget(ClientFlow flow) => _flows.TryRemove(new KeyValuePair<SocketAddress, ClientFlow>(flow.Client, flow));

    public void SendTo(ReadOnlySpan<byte> datagram, SocketAddress client)
    {
        try
        {
            _socket!.SendTo(datagram, SocketFlags.None, client);
        }
        catch (SocketException error) when (error.SocketErrorCode == SocketError.MessageSize)
        {
            tunnel.DropOversize(datagram.Length, $"what the way to a client of {service.Service}:{service.Port} takes");
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            tunnel.Datagrams.Drop(DatagramDrop.NotSent);
        }
    }

    public async Task CloseAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _socket?.Dispose();
        await _loop.ConfigureAwait(false);
        foreach (var flow in _flows.Values)
        {
            table.Remove(flow);
            flow.End("the service address is no longer served");
        }
    }
}
