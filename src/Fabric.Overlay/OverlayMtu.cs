using System.Net;
using System.Net.Sockets;

namespace Fabric.Overlay;

/// <summary>
/// The MTU of a vpn link and the TCP segment size that fits. Not rounded: WireGuard pads to 16 bytes, but never beyond the
/// interface's MTU, so that every byte of the underlay's MTU is usable.
/// </summary>
public static class OverlayMtu
{
    /// <summary>IPv6 forbids less (RFC 8200 §5), and Linux switches IPv6 off below it.</summary>
    public const int Minimum = 1280;

    /// <summary>Outer IPv6 40, UDP 8, WireGuard header 16 and tag 16.</summary>
    public const int OverheadIpv6 = 80;

    /// <summary>The same with outer IPv4 20.</summary>
    public const int OverheadIpv4 = 60;

    /// <summary>
    /// Underlay MTU less the overhead; an endpoint that is not known counts as IPv6. Never less than 1,280: under an underlay of
    /// less than 1,360 bytes (IPv4: 1,340) the outer packets of full-size inner ones are fragmented.
    /// </summary>
    public static int For(int underlayMtu, params ReadOnlySpan<IPAddress?> endpoints)
    {
        var ipv4 = endpoints.Length > 0;
        foreach (var endpoint in endpoints)
        {
            ipv4 &= endpoint is not null && (endpoint.AddressFamily == AddressFamily.InterNetwork || endpoint.IsIPv4MappedToIPv6);
        }

        return Math.Max(Minimum, underlayMtu - (ipv4 ? OverheadIpv4 : OverheadIpv6));
    }

    /// <summary>The largest TCP segment: less IPv6 40 (IPv4 20) and TCP 20.</summary>
    public static int SegmentSize(int mtu, AddressFamily family) => mtu - (family == AddressFamily.InterNetwork ? 40 : 60);
}
