using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Drivers;

/// <summary>The socket of a TCP listener, and what status says of it. Failing to open is tried again.</summary>
internal sealed class ListeningSocket(IPEndPoint address, string name)
{
    private IPEndPoint? _bound;
    private string? _error;

    /// <summary>Null until it is open.</summary>
    public Socket? Socket { get; private set; }

    /// <summary>Where it listens; the port is known once it is open.</summary>
    public IPEndPoint Address => _bound ?? address;

    public ListenerStatus Status => new(name, Address, Socket is not null, _error);

    /// <summary>Opens it: true when it was not open before and is now. Not thread-safe.</summary>
    public bool TryOpen()
    {
        if (Socket is not null)
        {
            return false;
        }

        try
        {
            var socket = Sockets.Listen(address);
            (_bound, _error) = ((IPEndPoint)socket.LocalEndPoint!, null);
            Socket = socket;
            return true;
        }
        catch (SocketException error)
        {
            _error = $"cannot listen on {address}: {error.Message}";
            return false;
        }
    }
}
