using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// A connected UDP socket: one per flow, so that the endpoint sees a client of its own, and its answers and its host's
/// "port unreachable" find the flow. An idle one holds no buffer.
/// </summary>
internal sealed class EndpointSocket : IDatagramSink, IDisposable
{
    private const int Burst = 32;

    private readonly GatewayTunnel _tunnel;
    private readonly Socket _socket;
    private volatile string? _failure;

    /// <summary>Throws <see cref="SocketException"/> when there is no way to the endpoint.</summary>
    public EndpointSocket(GatewayTunnel tunnel, IPEndPoint endpoint)
    {
        _tunnel = tunnel;
        Endpoint = endpoint;
        _socket = new Socket(endpoint.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { Blocking = false };
        try
        {
            _socket.Connect(endpoint);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    public IPEndPoint Endpoint { get; }

    public void Send(ReadOnlySpan<byte> datagram)
    {
        try
        {
            _socket.Send(datagram, SocketFlags.None);
        }
        catch (SocketException error) when (IsUnreachable(error))
        {
            // Said of an earlier datagram; whoever reads the socket does not hear it any more.
            _tunnel.Datagrams.Drop(DatagramDrop.NotSent);
            _failure = error.Message;
            _socket.Dispose();
        }
        catch (SocketException error) when (error.SocketErrorCode == SocketError.MessageSize)
        {
            _tunnel.DropOversize(datagram.Length, $"what the way to endpoint {Endpoint} takes");
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            _tunnel.Datagrams.Drop(DatagramDrop.NotSent);
        }
    }

    /// <summary>
    /// Hands what the endpoint sends to the flow, until the socket is closed. Returns null then, or why the endpoint cannot be reached.
    /// </summary>
    public async Task<string?> RunAsync(Flow flow)
    {
        var first = new byte[1];
        while (true)
        {
            try
            {
                // A look at the first byte waits without a buffer; on Windows it fails when there is more, which says the same.
                await _socket.ReceiveAsync(first.AsMemory(), SocketFlags.Peek).ConfigureAwait(false);
                Take(flow);
            }
            catch (SocketException error) when (error.SocketErrorCode == SocketError.MessageSize)
            {
                Take(flow);
            }
            catch (SocketException error) when (error.SocketErrorCode is SocketError.WouldBlock)
            {
                // Dropped by the kernel between the look and the read: a bad checksum.
            }
            catch (SocketException error) when (IsUnreachable(error))
            {
                return error.Message;
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                return _failure;
            }
        }
    }

    private void Take(Flow flow)
    {
        var slab = _tunnel.Pool.Rent(SlabPool.LargeSize);
        try
        {
            var left = Burst;
            do
            {
                var size = _socket.Receive(slab.Bytes, SocketFlags.None);
                if (size > FrameHeader.MaxDatagram)
                {
                    _tunnel.DropOversize(size, $"the {FrameHeader.MaxDatagram} bytes that a frame carries, from endpoint {Endpoint}");
                }
                else
                {
                    flow.ToClient(slab.Bytes.AsSpan(0, size));
                }
            }
            while (--left > 0 && _socket.Available > 0);
        }
        finally
        {
            slab.Release();
        }
    }

    /// <summary>What ICMP says: on Windows by a reset.</summary>
    private static bool IsUnreachable(SocketException error) => error.SocketErrorCode is SocketError.ConnectionRefused
        or SocketError.ConnectionReset or SocketError.HostUnreachable or SocketError.NetworkUnreachable;

    public void Dispose() => _socket.Dispose();
}
