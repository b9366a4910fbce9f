using System.Net;
using Fabric.Overlay.Netlink;

namespace Fabric.Overlay;

/// <summary>
/// Ranges that this machine accepts as its own, whole, without an address for each (Linux AnyIP): a route of type local on
/// <c>lo</c> in table local, as <c>ip route add local RANGE dev lo</c> makes it. Needs CAP_NET_ADMIN.
/// </summary>
public sealed class LocalRoutes(OverlayOptions options)
{
    /// <summary>
    /// Idempotent; true when the route was not there before. Ranges within 127.0.0.0/8 are local already and nothing is done.
    /// Throws <see cref="OverlayException"/>, with a hint when the privilege is missing.
    /// </summary>
    public Task<bool> AddLocalRangeAsync(IPNetwork range, CancellationToken cancellationToken = default) =>
        Run(n => n.AddLocalRoute(range), cancellationToken);

    /// <summary>Idempotent; true when the route was there. A route that others made is left alone.</summary>
    public Task<bool> RemoveLocalRangeAsync(IPNetwork range, CancellationToken cancellationToken = default) =>
        Run(n => n.RemoveLocalRoute(range), cancellationToken);

    /// <summary>An interface's MTU and state; null when there is none of that name. Needs no privilege.</summary>
    public Task<InterfaceStatus?> FindInterfaceAsync(string name, CancellationToken cancellationToken = default) =>
        Run(n => n.FindLink(name) is { } link ? new InterfaceStatus(link.Index, link.Name, link.Kind, link.Mtu, link.IsUp) : null,
            cancellationToken);

    // The kernel answers within the call that asks; the socket's own timeout bounds it.
    private Task<T> Run<T>(Func<Rtnetlink, T> action, CancellationToken cancellationToken) => Task.Run(() =>
    {
        using var rtnetlink = Rtnetlink.Open(options.RequestTimeout);
        return action(rtnetlink);
    }, cancellationToken);
}

/// <summary>
/// An interface as it is. <paramref name="Kind"/>: <c>wireguard</c>, <c>tun</c>, <c>veth</c>…; null when it has none.
/// </summary>
public sealed record InterfaceStatus(int Index, string Name, string? Kind, int Mtu, bool IsUp);
