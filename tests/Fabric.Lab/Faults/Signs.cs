using System.Diagnostics;
using System.Globalization;
using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Topology;

namespace Fabric.Lab.Faults;

/// <summary>
/// Signs of a fault for whoever is not the gateway that has it: kernels, and programs that know nothing of Fabric. Each says what it measured; null: nothing is to
/// be seen of the fault.
/// </summary>
public static class Signs
{
    private const string Dx = "10.10.0.2";
    private const int GatewayPort = 7443;

    /// <summary>Several times as long as any link goes without a probe.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromMilliseconds(350);

    /// <summary>A whole turn of a link that flaps, and more.</summary>
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(1_600);

    /// <summary>A connection from paris over dx is <c>open</c>, <c>silent</c> or <c>refused</c>.</summary>
    public static Func<LabFabric, Task<string?>> Connects(string how) => async lab => await HowItConnects(lab, 0.5) == how ? $"connects are {how}" : null;

    /// <summary>Down, and up again, within one turn.</summary>
    public static Func<LabFabric, Task<string?>> AtTimes(Func<LabFabric, Task<string?>> down) => async lab =>
    {
        var (watch, wasUp, what) = (Stopwatch.StartNew(), false, (string?)null);
        while (watch.Elapsed < Turn && !(wasUp && what is not null))
        {
            if (await down(lab) is { } seen)
            {
                what = seen;
            }
            else
            {
                wasUp = true;
                await Task.Delay(50);
            }
        }

        return wasUp && what is not null ? $"at times, and not at others: {what}" : null;
    };

    public static Func<LabFabric, Task<string?>> Both(Func<LabFabric, Task<string?>> one, Func<LabFabric, Task<string?>> other) => async lab =>
        await one(lab) is { } first && await other(lab) is { } second ? $"{first}, {second}" : null;

    /// <summary>Nothing of virginia arrives over these links: no probe, no answer to one, no byte of a lane.</summary>
    public static Func<LabFabric, Task<string?>> Silent(params string[] links) => lab => Silent(lab, Quiet, links);

    public static Task<string?> SilentShortly(LabFabric lab) => Silent(lab, TimeSpan.FromMilliseconds(250), "dx");

    /// <summary>Virginia's probes arrive, and those of paris are not answered.</summary>
    public static async Task<string?> Deaf(LabFabric lab)
    {
        var dx = (await LinkTraffic.During(lab, Quiet))["dx"];
        return dx.IsDeaf ? $"{dx.Requests} probes of virginia came, and none of the {dx.Asked} of paris was answered" : null;
    }

    /// <summary>No probe of virginia, and none of its connections stays open.</summary>
    public static async Task<string?> Closed(LabFabric lab)
    {
        var dx = (await LinkTraffic.During(lab, Quiet))["dx"];
        var open = await LinkTraffic.OpenOverDx(lab);
        return dx.Answers + dx.Requests == 0 && (open == 0 || dx.Ends > 0) ? $"no probe, {open} connections are open, {dx.Ends} were closed within {Quiet.TotalMilliseconds} ms" : null;
    }

    public static async Task<string?> NoEcho(LabFabric lab)
    {
        var overlay = OverlayAddresses.Of("lab.example", "vpn", "virginia-1");
        var ping = await Command.Run(lab.Network.Inside(lab.Network.Paris, "ping", "-6", "-c", "2", "-i", "0.2", "-W", "1", $"{overlay}"));
        return ping.ExitCode == 0 ? null : "no echo over vpn";
    }

    /// <summary>There and back, and so twice.</summary>
    public static async Task<string?> Slow(LabFabric lab)
    {
        var watch = Stopwatch.StartNew();
        Assert.Equal("open", await HowItConnects(lab, 5));
        return watch.ElapsedMilliseconds >= 280 ? $"a connect takes {watch.ElapsedMilliseconds} ms" : null;
    }

    public static async Task<string?> Lossy(LabFabric lab)
    {
        const int Tries = 40;
        // A lost SYN is sent again after a second: too late.
        var script = $"for i in $(seq {Tries}); do (timeout 0.6 bash -c 'exec 3<>/dev/tcp/{Dx}/{GatewayPort}' 2>/dev/null || echo lost) & done; wait";
        var lost = (await Command.Run(Try(lab.Network.Paris, lab, 20, script))).Output.Split('\n').Count(l => l == "lost");
        return lost is > 8 and < Tries ? $"{lost} of {Tries} connects were lost" : null;
    }

    /// <summary>1.2 MB of datagrams to the other gateway's port: who sends them waits for the queue.</summary>
    public static async Task<string?> Narrow(LabFabric lab)
    {
        var watch = Stopwatch.StartNew();
        (await Command.Run(Try(lab.Network.Virginia, lab, 10, $"dd if=/dev/zero bs=1200 count=1000 status=none >/dev/udp/10.10.0.1/{GatewayPort}"))).Checked();
        return watch.ElapsedMilliseconds > 600 ? $"1.2 MB left in {watch.ElapsedMilliseconds} ms" : null;
    }

    public static Task<string?> Stopped(LabFabric lab)
    {
        var stat = $"/proc/{lab.Virginia.Pid}/stat";
        var state = File.Exists(stat) ? File.ReadAllText(stat).Split(") ")[1][0] : '-';
        return Task.FromResult(state == 'T' ? "the process is stopped" : null);
    }

    /// <summary>Called in virginia itself, where no link has a say in whether the own endpoint answers.</summary>
    public static async Task<string?> Elsewhere(LabFabric lab)
    {
        var (virginia, dns) = (lab.Network.Virginia, $"{lab.Network.Virginia.Dns.Address}");
        var address = (await Command.Run(lab.Network.Inside(virginia, "kdig", $"@{dns}", "+short", "+timeout=2", LabNetwork.Web, "A"))).Output.Trim();
        var answer = await Command.Run(lab.Network.Inside(virginia, "curl", "-sS", "-f", "-m", "2", "--interface", dns, $"http://{address}/"));
        return answer.ExitCode == 0 && answer.Output.Trim() == Nginx.Greeting(lab.Network.Factory) ? "factory answers" : null;
    }

    public static async Task<string?> NoName(LabFabric lab)
    {
        var answer = (await Command.Run(lab.Network.AtShop("kdig", $"@{lab.Network.Paris.Dns.Address}", "+edns", "+timeout=2", LabNetwork.Web, "A"))).Checked().Output;
        return answer.Contains("a drill withdrew web.shop", StringComparison.Ordinal) && !answer.Contains("10.81.", StringComparison.Ordinal) ? "no address, and why" : null;
    }

    /// <summary>With the certificate of paris, which every gateway takes.</summary>
    public static async Task<string?> NoHandshake(LabFabric lab)
    {
        var identity = Path.Combine(lab.Paris.State, "identity", "gateway");
        var client = await Command.Run(Try(lab.Network.Paris, lab, 1,
            $"openssl s_client -connect {Dx}:{GatewayPort} -alpn fabric/1 -cert {identity}.crt -cert_chain {identity}.crt -key {identity}.key -ign_eof </dev/null"));
        return $"{client.Output}{client.Error}".Contains(":ssl/tls alert", StringComparison.OrdinalIgnoreCase)
            || $"{client.Output}{client.Error}".Contains("SSL alert number", StringComparison.Ordinal) ? "the handshake ends with an alert" : null;
    }

    public static async Task<string?> NoReload(LabFabric lab)
    {
        var reload = await Command.Run(lab.FabricCommand("reload", "--socket", lab.Virginia.Socket));
        return reload.ExitCode != 0 && reload.Error.Contains("cannot be read", StringComparison.Ordinal) ? "reload fails" : null;
    }

    private static async Task<string?> Silent(LabFabric lab, TimeSpan time, params string[] links)
    {
        var traffic = await LinkTraffic.During(lab, time);
        return links.All(l => traffic[l].IsSilent)
            ? $"nothing came over {string.Join(" and ", links)} in {time.TotalMilliseconds} ms, though {links.Sum(l => traffic[l].Asked)} probes were sent" : null;
    }

    private static string[] Try(LabSite at, LabFabric lab, double seconds, string command) =>
        lab.Network.Inside(at, "timeout", seconds.ToString(CultureInfo.InvariantCulture), "bash", "-c", command);

    private static async Task<string> HowItConnects(LabFabric lab, double seconds) =>
        (await Command.Run(Try(lab.Network.Paris, lab, seconds, $"exec 3<>/dev/tcp/{Dx}/{GatewayPort}"))).ExitCode switch
        {
            0 => "open",
            124 => "silent",
            _ => "refused",
        };
}
