using Fabric.Lab.Gateways;
using Fabric.Protocol.Proto;

namespace Fabric.Lab.Faults;

/// <summary>One kind of fault by one means, and how anybody can see that it is there.</summary>
/// <param name="By">What the gateway must say that it is in force by.</param>
/// <param name="Seen">From outside Fabric: null, it is not there; else what was measured of it.</param>
/// <param name="LastsMs">Where it is to end with its time: long enough to be seen meanwhile, on a machine with nothing else to do.</param>
public sealed record FaultCase(
    string Name, FaultSpec Fault, string By, Func<LabFabric, Task<string?>> Seen, string Asked = "paris-1", string Target = "virginia-1", uint LastsMs = 1_200)
{
    /// <summary>All that there are, by name.</summary>
    public static IReadOnlyDictionary<string, FaultCase> All { get; } = ((FaultCase[])
    [
        new("link-down", new() { Kind = "link-down", Link = "dx", Means = "kernel" }, "nft", Signs.Connects("refused")),
        new("link-down-seam", new() { Kind = "link-down", Link = "dx", Means = "seam" }, "seam", Signs.Closed),
        new("link-blackhole", new() { Kind = "link-blackhole", Link = "dx", Means = "kernel" }, "nft", Signs.Connects("silent")),
        new("link-blackhole-in", new() { Kind = "link-blackhole", Link = "dx", Direction = "in", Means = "kernel" }, "nft", Signs.Deaf),
        new("link-blackhole-out", new() { Kind = "link-blackhole", Link = "vpn", Peer = "paris-1", Direction = "out", Means = "kernel" }, "nft", Signs.NoEcho),
        new("link-blackhole-seam", new() { Kind = "link-blackhole", Link = "dx", Means = "seam" }, "seam", Signs.Silent("dx")),
        new("link-blackhole-seam-in", new() { Kind = "link-blackhole", Link = "dx", Direction = "in", Means = "seam" }, "seam", Signs.Deaf),
        new("link-blackhole-seam-out", new() { Kind = "link-blackhole", Link = "vpn", Peer = "paris-1", Direction = "out", Means = "seam" }, "seam", Signs.Silent("vpn")),
        new("delay", new() { Kind = "delay", Link = "dx", DelayMs = 150, JitterMs = 10 }, "tun", Signs.Slow),
        new("loss", new() { Kind = "loss", Link = "dx", LossPercent = 60, Direction = "in" }, "nft", Signs.Lossy),
        new("bandwidth", new() { Kind = "bandwidth", Link = "dx", BitsPerSecond = 8_000_000 }, "tc", Signs.Narrow),
        new("flap", new() { Kind = "flap", Link = "dx", DownMs = 700, UpMs = 700, Means = "kernel" }, "nft", Signs.AtTimes(Signs.Connects("silent")), LastsMs: 2_500),
        new("flap-seam", new() { Kind = "flap", Link = "dx", DownMs = 700, UpMs = 700, Means = "seam" }, "seam", Signs.AtTimes(Signs.SilentShortly), LastsMs: 2_500),
        new("site-isolate", new() { Kind = "site-isolate", Means = "kernel" }, "nft", Signs.Both(Signs.Connects("silent"), Signs.NoEcho), Asked: "virginia-1", LastsMs: 2_500),
        new("site-isolate-seam", new() { Kind = "site-isolate", Means = "seam" }, "seam", Signs.Silent("dx", "vpn"), Asked: "virginia-1"),
        new("gateway-pause", new() { Kind = "gateway-pause" }, "signal", Signs.Stopped),
        new("service-down", new() { Kind = "service-down", Service = "web.shop" }, "seam", Signs.Elsewhere),
        new("dns-withdraw", new() { Kind = "dns-withdraw", Service = "web.shop" }, "seam", Signs.NoName, Target: "paris-1"),
        new("cert-expire", new() { Kind = "cert-expire" }, "seam", Signs.NoHandshake),
        new("source-gone", new() { Kind = "source-gone" }, "seam", Signs.NoReload),
    ]).ToDictionary(c => c.Name);

    /// <summary>It hears no renewal, and nobody that calls it off.</summary>
    public bool IsDeaf => Fault.Kind == "gateway-pause";

    /// <summary>It is inside the process, and nothing of it outlives that but the lease.</summary>
    public bool IsInside => By == "seam";

    /// <summary>It is about what the gateway believes, and not about how it reaches others: so a gateway that serves shows at once whether it is there.</summary>
    public bool IsBelief => IsInside && Fault.Kind is "service-down" or "dns-withdraw" or "cert-expire" or "source-gone";

    /// <summary>With an id and a drill of its own.</summary>
    public FaultSpec New(string drill, uint durationMs, uint renewWithinMs = 0) =>
        new(Fault) { Id = $"{Name}-{drill}", Drill = drill, DurationMs = durationMs, RenewWithinMs = renewWithinMs };
}
