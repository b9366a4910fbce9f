using System.Diagnostics;
using System.Globalization;
using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Protocol.Proto;
using Fabric.Topology;

namespace Fabric.Lab.Faults;

/// <summary>One kind of fault by one means, and how anybody can see that it is there.</summary>
/// <param name="Seen">From outside Fabric: null, it is not there; else what was measured of it.</param>
public sealed record FaultCase(string Name, FaultSpec Fault, Func<LabFabric, Task<string?>> Seen, string Asked = "paris-1", string Target = "virginia-1")
{
    private const string Dx = "10.10.0.2";
    private const int GatewayPort = 7443;

    /// <summary>All that there are, by name.</summary>
    public static IReadOnlyDictionary<string, FaultCase> All { get; } = ((FaultCase[])
    [
        new("link-down", new() { Kind = "link-down", Link = "dx", Means = "kernel" }, lab => Connect(lab, "refused")),
        new("link-blackhole", new() { Kind = "link-blackhole", Link = "dx", Means = "kernel" }, lab => Connect(lab, "silent")),
        new("link-blackhole-out", new() { Kind = "link-blackhole", Link = "vpn", Peer = "paris-1", Direction = "out", Means = "kernel" }, NoEcho),
        new("delay", new() { Kind = "delay", Link = "dx", DelayMs = 150, JitterMs = 10 }, Slow),
        new("loss", new() { Kind = "loss", Link = "dx", LossPercent = 60, Direction = "in" }, Lossy),
        new("bandwidth", new() { Kind = "bandwidth", Link = "dx", BitsPerSecond = 8_000_000 }, Narrow),
        new("flap", new() { Kind = "flap", Link = "dx", DownMs = 900, UpMs = 900, Means = "kernel" }, Flapping),
        new("site-isolate", new() { Kind = "site-isolate", Means = "kernel" }, async lab => await Connect(lab, "silent") is { } dx && await NoEcho(lab) is { } vpn ? $"{dx}, {vpn}" : null,
            Asked: "virginia-1"),
        new("gateway-pause", new() { Kind = "gateway-pause" }, Stopped),
        new("service-down", new() { Kind = "service-down", Service = "web.shop" }, Elsewhere),
        new("dns-withdraw", new() { Kind = "dns-withdraw", Service = "web.shop" }, NoName, Target: "paris-1"),
        new("cert-expire", new() { Kind = "cert-expire" }, NoHandshake),
        new("source-gone", new() { Kind = "source-gone" }, NoReload),
    ]).ToDictionary(c => c.Name);

    /// <summary>With an id and a drill of its own.</summary>
    public FaultSpec New(string drill, uint durationMs, uint renewWithinMs = 0) =>
        new(Fault) { Id = $"{Name}-{drill}", Drill = drill, DurationMs = durationMs, RenewWithinMs = renewWithinMs };

    private static string[] Try(LabSite at, NamespaceNetwork network, double seconds, string command) =>
        network.Inside(at, "timeout", seconds.ToString(CultureInfo.InvariantCulture), "bash", "-c", command);

    private static NamespaceNetwork Network(LabFabric lab) => (NamespaceNetwork)lab.Network;

    private static async Task<string> HowItConnects(LabFabric lab, double seconds) =>
        (await Command.Run(Try(lab.Network.Paris, Network(lab), seconds, $"exec 3<>/dev/tcp/{Dx}/{GatewayPort}"))).ExitCode switch
        {
            0 => "open",
            124 => "silent",
            _ => "refused",
        };

    private static async Task<string?> Connect(LabFabric lab, string how) => await HowItConnects(lab, 0.6) is var seen && seen == how ? $"connects are {how}" : null;

    private static async Task<string?> NoEcho(LabFabric lab)
    {
        var overlay = OverlayAddresses.Of("lab.example", "vpn", "virginia-1");
        var ping = await Command.Run(lab.Network.Inside(lab.Network.Paris, "ping", "-6", "-c", "2", "-i", "0.2", "-W", "1", $"{overlay}"));
        return ping.ExitCode == 0 ? null : "no echo over vpn";
    }

    /// <summary>There and back, and so twice.</summary>
    private static async Task<string?> Slow(LabFabric lab)
    {
        var watch = Stopwatch.StartNew();
        Assert.Equal("open", await HowItConnects(lab, 5));
        return watch.ElapsedMilliseconds >= 280 ? $"a connect takes {watch.ElapsedMilliseconds} ms" : null;
    }

    private static async Task<string?> Lossy(LabFabric lab)
    {
        const int Tries = 40;
        // A lost SYN is sent again after a second: too late.
        var script = $"for i in $(seq {Tries}); do (timeout 0.6 bash -c 'exec 3<>/dev/tcp/{Dx}/{GatewayPort}' 2>/dev/null || echo lost) & done; wait";
        var lost = (await Command.Run(Try(lab.Network.Paris, Network(lab), 20, script))).Output.Split('\n').Count(l => l == "lost");
        return lost is > 8 and < Tries ? $"{lost} of {Tries} connects were lost" : null;
    }

    /// <summary>1.2 MB of datagrams to the other gateway's port: who sends them waits for the queue.</summary>
    private static async Task<string?> Narrow(LabFabric lab)
    {
        var watch = Stopwatch.StartNew();
        (await Command.Run(Try(lab.Network.Virginia, Network(lab), 10, $"dd if=/dev/zero bs=1200 count=1000 status=none >/dev/udp/10.10.0.1/{GatewayPort}"))).Checked();
        return watch.ElapsedMilliseconds > 600 ? $"1.2 MB left in {watch.ElapsedMilliseconds} ms" : null;
    }

    /// <summary>Down, and up again.</summary>
    private static async Task<string?> Flapping(LabFabric lab)
    {
        for (var tries = 0; tries < 4; tries++)
        {
            if (await HowItConnects(lab, 0.3) == "silent")
            {
                return "connects are silent at times";
            }
        }

        return null;
    }

    private static Task<string?> Stopped(LabFabric lab)
    {
        var stat = $"/proc/{lab.Virginia.Pid}/stat";
        var state = File.Exists(stat) ? File.ReadAllText(stat).Split(") ")[1][0] : '-';
        return Task.FromResult(state == 'T' ? "the process is stopped" : null);
    }

    private static async Task<string?> Elsewhere(LabFabric lab)
    {
        // Where virginia is out of reach for another reason, factory answers as well.
        var answer = await lab.Curl();
        return answer.ExitCode == 0 && answer.Output.Trim() == Nginx.Greeting(lab.Network.Factory) ? "factory answers" : null;
    }

    private static async Task<string?> NoName(LabFabric lab)
    {
        var answer = (await Command.Run(lab.Network.AtShop("kdig", $"@{lab.Network.Paris.Dns.Address}", "+edns", "+timeout=2", LabNetwork.Web, "A"))).Checked().Output;
        return answer.Contains("a drill withdrew web.shop", StringComparison.Ordinal) && !answer.Contains("10.81.", StringComparison.Ordinal) ? "no address, and why" : null;
    }

    /// <summary>With the certificate of paris, which every gateway takes.</summary>
    private static async Task<string?> NoHandshake(LabFabric lab)
    {
        var identity = Path.Combine(lab.Paris.State, "identity", "gateway");
        var client = await Command.Run(Try(lab.Network.Paris, Network(lab), 1,
            $"openssl s_client -connect {Dx}:{GatewayPort} -alpn fabric/1 -cert {identity}.crt -cert_chain {identity}.crt -key {identity}.key -ign_eof </dev/null"));
        return $"{client.Output}{client.Error}".Contains(":ssl/tls alert", StringComparison.OrdinalIgnoreCase)
            || $"{client.Output}{client.Error}".Contains("SSL alert number", StringComparison.Ordinal) ? "the handshake ends with an alert" : null;
    }

    private static async Task<string?> NoReload(LabFabric lab)
    {
        var reload = await Command.Run(lab.FabricCommand("reload", "--socket", lab.Virginia.Socket));
        return reload.ExitCode != 0 && reload.Error.Contains("cannot be read", StringComparison.Ordinal) ? "reload fails" : null;
    }
}
