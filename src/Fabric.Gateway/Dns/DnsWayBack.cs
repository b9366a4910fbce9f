using System.Net;
using System.Net.Sockets;
using System.Runtime.Versioning;

namespace Fabric.Gateway.Dns;

/// <summary>Where the answer to a datagram goes that comes later, on whatever thread.</summary>
internal interface IDnsWayBack
{
    /// <summary>False for an asker that cannot be reached, and after the server has stopped.</summary>
    bool Send(ReadOnlySpan<byte> response);
}

/// <summary>By the socket that it came to.</summary>
internal sealed class DnsWayBack : IDnsWayBack
{
    private readonly Socket _socket;
    private readonly SocketAddress _to;

    public DnsWayBack(Socket socket, SocketAddress to)
    {
        (_socket, _to) = (socket, new SocketAddress(to.Family, to.Size));
        to.Buffer.Span[..to.Size].CopyTo(_to.Buffer.Span);
    }

    public bool Send(ReadOnlySpan<byte> response)
    {
        try
        {
            _socket.SendTo(response, SocketFlags.None, _to);
            return true;
        }
        catch (Exception e) when (e is ObjectDisposedException or SocketException)
        {
            return false;
        }
    }
}

internal sealed unsafe partial class DnsLinuxUdp
{
    /// <summary>For an answer that is sent later: from the address that was asked, as <see cref="Send"/> does.</summary>
    public IDnsWayBack WayBack(int i)
    {
        ref readonly var message = ref _in[i];
        var control = new Span<byte>(message.Control, (int)message.ControlLength).ToArray();
        if (control.Length > 0 && _socket.AddressFamily == AddressFamily.InterNetwork)
        {
            control.AsSpan(sizeof(nuint) + 8, sizeof(int)).Clear();
        }

        return new LinuxWayBack(_socket, new Span<byte>(message.Name, (int)message.NameLength).ToArray(), control);
    }

    [SupportedOSPlatform("linux")]
    private sealed class LinuxWayBack(Socket socket, byte[] name, byte[] control) : IDnsWayBack
    {
        public bool Send(ReadOnlySpan<byte> response)
        {
            var held = false;
            try
            {
                socket.SafeHandle.DangerousAddRef(ref held);
                fixed (byte* bytes = response, to = name, ancillary = control)
                {
                    var vector = new Vector { Base = bytes, Length = (nuint)response.Length };
                    var message = new Message
                    {
                        Vectors = &vector,
                        VectorCount = 1,
                        Name = to,
                        NameLength = (uint)name.Length,
                        Control = ancillary,
                        ControlLength = (nuint)control.Length,
                    };
                    return SendMMsg((int)socket.SafeHandle.DangerousGetHandle(), &message, 1, 0) == 1;
                }
            }
            catch (ObjectDisposedException)
            {
                return false;
            }
            finally
            {
                if (held)
                {
                    socket.SafeHandle.DangerousRelease();
                }
            }
        }
    }
}
