using System.Net;

namespace Fabric.Gateway.Probing;

internal enum ProbeSend
{
    Sent,

    /// <summary>EMSGSIZE: larger than the interface or the path carries.</summary>
    TooBig,

    /// <summary>Any other refusal of the kernel: no route, interface down, forbidden.</summary>
    Refused,
}

/// <summary>Where probes leave: UDP sockets, or a fake network. Called on one thread at a time; never blocks.</summary>
internal interface IProbeWire
{
    /// <summary>The socket to reach that address from, or −1 when none fits; and the address in that socket's family.</summary>
    int Route(IPAddress? local, IPEndPoint remote, out SocketAddress address);

    /// <param name="error">The kernel's words when it refused.</param>
    ProbeSend Send(int socket, SocketAddress to, ReadOnlySpan<byte> packet, out string? error);
}
