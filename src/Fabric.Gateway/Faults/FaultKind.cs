namespace Fabric.Gateway.Faults;

/// <summary>What a drill can do, by the names of <c>faults.proto</c>.</summary>
internal static class FaultKind
{
    public const string LinkDown = "link-down";
    public const string LinkBlackhole = "link-blackhole";
    public const string Delay = "delay";
    public const string Loss = "loss";
    public const string Bandwidth = "bandwidth";
    public const string Flap = "flap";
    public const string GatewayKill = "gateway-kill";
    public const string GatewayPause = "gateway-pause";
    public const string SiteIsolate = "site-isolate";
    public const string ServiceDown = "service-down";
    public const string DnsWithdraw = "dns-withdraw";
    public const string CertExpire = "cert-expire";
    public const string SourceGone = "source-gone";

    /// <summary>In the order of the contract.</summary>
    public static readonly IReadOnlyList<string> All =
    [
        LinkDown, LinkBlackhole, Delay, Loss, Bandwidth, Flap, GatewayKill, GatewayPause, SiteIsolate, ServiceDown, DnsWithdraw, CertExpire, SourceGone,
    ];

    /// <summary>It is of one link, which it names.</summary>
    public static bool IsOfLink(string kind) => kind is LinkDown or LinkBlackhole or Delay or Loss or Bandwidth or Flap;

    /// <summary>It may be of one way only.</summary>
    public static bool HasDirection(string kind) => kind is LinkBlackhole or Delay or Loss or Bandwidth;

    /// <summary>It names a service.</summary>
    public static bool IsOfService(string kind) => kind is ServiceDown or DnsWithdraw;

    /// <summary>
    /// Nobody can reach the gateway meanwhile, to renew it or to take it back: it ends after its duration, or after the time within which it would
    /// have to be renewed, where one is given that is shorter.
    /// </summary>
    public static bool IsDeaf(string kind) => kind is GatewayKill or GatewayPause;
}
