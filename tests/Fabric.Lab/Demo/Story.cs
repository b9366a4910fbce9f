using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

using Fabric.Drills.Reports;
using Fabric.Lab.Gateways;
using Fabric.Lab.Measurement;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Lab.Demo;

/// <summary>The main job in ten steps. Each gives what it saw, or throws with what it expected.</summary>
public sealed class Story(LabFabric fabric, Teller teller, long payloadBytes) : IAsyncDisposable
{
    private const long MiB = 1 << 20;

    /// <summary>The longest pause that the silent cut may make, and what still counts as none; more on a machine that is busy with something else.</summary>
    private static readonly TimeSpan StallLimit = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan NoPause = TimeSpan.FromMilliseconds(500);

    /// <summary>For what the fabric comes to by itself: longer than flap damping ever holds a link.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    /// <summary>How often a drill may find that the steady state does not hold, which touches nothing.</summary>
    private const int DrillTries = 3;

    private readonly List<DemoStep> _steps = [];
    private RedisSession? _session;
    private double? _detectedMs;
    private double? _stallMs;
    private long? _bytesLost;
    private int _dropped;

    /// <summary>Where the reports of the drill are, once it was run.</summary>
    public string? ReportFolder { get; private set; }

    private LabNetwork Network => fabric.Network;
    private LabSite Virginia => Network.Virginia;

    /// <summary>Runs all steps. The first two are the ground of the others; after them, one that fails stops no other.</summary>
    public async Task<DemoReport> Tell()
    {
        if (await Step("the mesh is made, and each gateway joins with a one-time token", Join)
            && await Step("the links come up, and status says which one is active and why", Links))
        {
            await Step("curl in paris is answered by nginx in virginia, over dx", Call);
            await Step("a redis-cli session from paris is open, and stays", Hold);
            await Step("dx goes dark during a download: it finishes over the other link", SilentCut);
            await Step("dx returns, and streams move back without a pause", MoveBack);
            await Step("nginx in virginia is stopped: factory's answers", Failover);
            await Step("a caller that no policy allows is refused, and audited", Refusal);
            await Step("fabric status agrees with all that", Agreement);
            await Step("a declared drill cuts dx again, measures, reverts and reports", Drill);
        }

        var report = new DemoReport(_steps.All(s => s.Ok), Network.Mode, _steps, Cost());
        teller.Summary(report);
        return report;
    }

    /// <summary>What the silent cut did; null when the story did not come to it.</summary>
    private FailoverCost? Cost() => _detectedMs is { } detected && _stallMs is { } stall && _bytesLost is { } lost
        ? new FailoverCost(detected, stall, lost, _dropped + (_session?.Dropped > 0 ? 1 : 0))
        : null;

    public async ValueTask DisposeAsync()
    {
        if (_session is not null)
        {
            await _session.DisposeAsync();
        }
    }

    private async Task<bool> Step(string name, Func<Task<string>> run)
    {
        var watch = Stopwatch.StartNew();
        DemoStep? step = null;
        await teller.Step(_steps.Count + 1, name, async () =>
        {
            try
            {
                var details = await run();
                // From the fourth step on: the same connection, before and after.
                if (_session is not null && !await _session.Holds())
                {
                    throw new LabException($"the redis-cli session (client {_session.FirstId}) did not hold");
                }

                step = new DemoStep(name, true, watch.ElapsedMilliseconds, details);
            }
            catch (Exception e) when (e is not OperationCanceledException || !Interruption.Token.IsCancellationRequested)
            {
                step = new DemoStep(name, false, watch.ElapsedMilliseconds, e is LabException ? e.Message : e.ToString());
            }
        });
        _steps.Add(step!);
        teller.Outcome(step!);
        return step!.Ok;
    }

    private async Task<string> Join()
    {
        await fabric.Init();
        teller.Now("starting nginx, redis and the gateways");
        await Task.WhenAll(fabric.StartWorkloads(payloadBytes), fabric.Join());
        await fabric.ExpectTokensAreSpent();
        return $"{string.Join(", ", fabric.Gateways.Select(g => g.Name))} joined lab.example; a token used twice was refused";
    }

    private async Task<string> Links()
    {
        await fabric.LinksUp();
        await fabric.ServicesUp();
        var status = await fabric.ActiveLink("dx");
        teller.Say(await fabric.Fabric("status", "--socket", fabric.Paris.Socket));
        var shown = string.Join(", ", status.Links.Select(l => string.Create(CultureInfo.InvariantCulture, $"{l.Name} to {l.Peer} {l.RttMs:0.0} ms {l.Role}")));
        return $"{shown}; dx because {Peer(status, Virginia).ActiveReason}{await WireGuard()}";
    }

    /// <summary>The interfaces that Fabric made, as WireGuard's own tool sees them.</summary>
    private async Task<string> WireGuard()
    {
        if (Network.Mode != "namespaces")
        {
            return "";
        }

        var peers = 0;
        foreach (var site in Network.Sites)
        {
            var prefix = Network.InterfacePrefix(site);
            var interfaces = (await Command.Do(Network.Inside(site, "wg", "show", "interfaces"))).Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries)
                .Where(i => i.StartsWith(prefix, StringComparison.Ordinal)).ToArray();
            foreach (var name in interfaces)
            {
                var handshakes = (await Command.Do(Network.Inside(site, "wg", "show", name, "latest-handshakes"))).Split('\n', StringSplitOptions.RemoveEmptyEntries);
                peers += handshakes.Count(h => !h.EndsWith("\t0", StringComparison.Ordinal));
            }
        }

        return peers == 6 ? "; wg show lists 6 peers with a handshake" : throw new LabException($"wg show lists {peers} peers with a handshake, not 6 (three sites, two peers each)");
    }

    private async Task<string> Call()
    {
        var before = Peer(await fabric.Paris.Status(), Virginia);
        await AnsweredBy(Virginia);
        await fabric.Paris.Until("bytes from virginia, over dx", Limit, s => Peer(s, Virginia) is { ActiveLink: "dx" } peer && peer.BytesReceived > before.BytesReceived);
        return $"{LabNetwork.Web} is {await Network.Resolve(LabNetwork.Web)} in paris: \"{Nginx.Greeting(Virginia)}\"";
    }

    private async Task<string> Hold()
    {
        _session = await fabric.OpenRedis();
        return await _session.Holds() ? $"client {_session.FirstId} of redis-server in virginia; checked again after each step"
            : throw new LabException("redis-cli: PING, SET and GET were not answered");
    }

    private async Task<string> SilentCut()
    {
        using var lateness = new Lateness();
        var cut = await SilentCuts.Run(fabric, teller.Now);
        var limit = lateness.Allowed(StallLimit);
        _stallMs = Math.Round(cut.Download.LongestPause.TotalMilliseconds, 1);
        _detectedMs = Math.Round(cut.DetectedMs, 1);
        _bytesLost = cut.Download.BytesLost;
        _dropped += cut.Download is { CurlExitCode: 0, Connections: 1 } ? 0 : 1;
        var told = string.Create(CultureInfo.InvariantCulture,
            $"cut after {cut.CutAt / MiB} of {payloadBytes / MiB} MiB; down noticed after {_detectedMs} ms; longest pause {_stallMs} ms; SHA-256 {cut.Download.Sha256[..16]}… over {Network.SecondLink}");
        return !cut.Download.Held ? throw new LabException($"{told}: {cut.Download}")
            : cut.Download.LongestPause >= limit ? throw new LabException($"{told}: the pause must stay below {limit.TotalMilliseconds:0} ms")
            : told;
    }

    private async Task<string> MoveBack()
    {
        await fabric.ActiveLink(Network.SecondLink);
        // Long enough to be on its way until dx is trusted again, whatever the speed; stopped afterwards.
        await using var download = await Download.Start(fabric.Work, Network, fabric.Payload, times: 1000);
        await download.Reach(8 * MiB, Limit);
        await Network.HealDx();
        using var lateness = new Lateness();
        download.ForgetPauses();
        var watch = Stopwatch.StartNew();
        var after = await fabric.Paris.Until("streams back on dx", Limit,
            s => Peer(s, Virginia).ActiveLink == "dx" && s.Links.Single(l => l.Name == "dx").State == "up");
        var back = watch.Elapsed;
        await download.Reach(download.Received + 64 * MiB, Limit);
        var result = await download.StopHere();
        var limit = lateness.Allowed(NoPause);
        _dropped += result.Held ? 0 : 1;
        var told = string.Create(CultureInfo.InvariantCulture, $"back after {back.TotalSeconds:0.0} s ({Peer(after, Virginia).ActiveReason}); longest pause {result.LongestPause.TotalMilliseconds:0} ms");
        return !result.Held ? throw new LabException($"{told}: {result}")
            : result.LongestPause >= limit ? throw new LabException($"{told}: it must stay below {limit.TotalMilliseconds:0} ms")
            : told;
    }

    private async Task<string> Failover()
    {
        await AnsweredBy(Virginia);
        using var enough = new CancellationTokenSource();
        var requests = new ConcurrentQueue<(long Began, long Ended, CommandResult Answer)>();
        var client = Task.Run(async () =>
        {
            while (!enough.IsCancellationRequested)
            {
                var began = Stopwatch.GetTimestamp();
                var answer = await fabric.Curl();
                requests.Enqueue((began, Stopwatch.GetTimestamp(), answer));
            }
        });
        long stopping;
        long gone;
        try
        {
            await Poll.Until("answers before", Limit, () => Task.FromResult(requests.Count >= 5));
            stopping = Stopwatch.GetTimestamp();
            await fabric.VirginiaWeb.Stop();
            gone = Stopwatch.GetTimestamp();
            await fabric.WebFrom(Network.Factory);
            var then = requests.Count;
            await Poll.Until("answers after", Limit, () => Task.FromResult(requests.Count >= then + 20));
        }
        finally
        {
            await enough.CancelAsync();
            await client;
        }

        // What nginx had begun may end with it; nothing else may.
        var failed = requests.Where(r => r.Answer.ExitCode != 0).ToArray();
        var broken = failed.Where(r => r.Began > gone || r.Ended < stopping).ToArray();
        if (broken.Length > 0)
        {
            throw new LabException(BothEnds.Of($"{broken.Length} of {requests.Count} requests failed that were not under way while nginx ended: {broken[0].Answer.Error.Trim()}",
                string.Join('\n', broken.Take(3).Select(f => f.Answer.ToString()))));
        }

        var byFactory = requests.Count(r => r.Answer.ExitCode == 0 && r.Answer.Output.Trim() == Nginx.Greeting(Network.Factory));
        Expect("the answer after", Nginx.Greeting(Network.Factory), requests.Last().Answer.Output.Trim());
        return $"{requests.Count} requests one after the other, {failed.Length} failed, under way while nginx ended; {byFactory} answered by factory";
    }

    private async Task<string> Refusal()
    {
        var refused = await fabric.Curl(from: Network.Guest.ToString());
        if (refused.ExitCode == 0)
        {
            throw new LabException($"guest was answered: {refused}");
        }

        await AnsweredBy(Network.Factory);

        JsonElement entry = default;
        await Poll.Until("the refusal in an audit log", Limit, async () =>
        {
            var found = await NewestRefusal();
            entry = found ?? default;
            return found is not null;
        });
        var reason = entry.GetProperty("reason").GetString();
        return string.IsNullOrWhiteSpace(reason) ? throw new LabException($"the refusal has no reason: {entry}")
            : $"curl ended with {refused.ExitCode}; audit log: {entry.GetProperty("caller")} {entry.GetProperty("verdict")} {entry.GetProperty("service")}: {reason}";
    }

    private async Task<string> Agreement()
    {
        // A machine that is busy with something else may have made a link late just now: it has to agree at one moment, and soon.
        var disagreement = "";
        var status = await Poll.For("fabric status to agree", Limit, async () =>
        {
            var json = await fabric.Fabric("status", "-o", "json", "--socket", fabric.Paris.Socket);
            var seen = new JsonParser(JsonParser.Settings.Default.WithIgnoreUnknownFields(true)).Parse<Status>(json);
            disagreement = await Disagreement(seen);
            return disagreement.Length == 0 ? seen : null;
        }, () => disagreement);
        var web = status.Services.Single(s => s.Name == "web.shop");
        return $"{status.State}: {status.Links.Count} links up, dx active, web.shop from factory ({web.ChosenReason}), {status.Streams} streams open";
    }

    /// <summary>What of it is not as the steps before have left it; empty: nothing.</summary>
    private async Task<string> Disagreement(Status status)
    {
        var dx = status.Links.Single(l => l.Name == "dx");
        var web = status.Services.Single(s => s.Name == "web.shop");
        (string What, string Expected, string Found)[] all =
        [
            ("the gateway", Network.Paris.Gateway, status.Gateway),
            .. status.Links.Select(l => ($"link {l.Name} to {l.Peer}", "up", l.State)),
            ("the role of dx", "active", dx.Role),
            ("the role of the other link to virginia", "standby", status.Links.Single(l => l.Name == Network.SecondLink && l.Peer == Virginia.Gateway).Role),
            ("the active link to virginia", "dx", Peer(status, Virginia).ActiveLink),
            ("web.shop in virginia", "down", web.Sites.Single(s => s.Site == "virginia").State),
            ("web.shop in factory", "healthy", web.Sites.Single(s => s.Site == "factory").State),
            ("the site of web.shop", "factory", web.ChosenSite),
            ("its service address", (await Network.Resolve(LabNetwork.Web)).ToString(), web.ServiceAddress),
            ("the site of cache.shop", "virginia", status.Services.Single(s => s.Name == "cache.shop").ChosenSite),
        ];
        return string.Join("; ", all.Where(e => e.Expected != e.Found).Select(e => $"{e.What}: expected '{e.Expected}', found '{e.Found}'")
            .Concat(dx.DetectedMs > 0 && Peer(status, Virginia).Moves > 0 ? [] : [$"nothing of the cut: detected_ms {dx.DetectedMs}, moves {Peer(status, Virginia).Moves}"])
            .Concat(status.Streams > 0 ? [] : ["no stream is carried, and yet the redis-cli session is open"]));
    }

    /// <summary>The same fault, declared: run by the program as a person would, from where the shop is.</summary>
    private async Task<string> Drill()
    {
        await fabric.VirginiaWeb.Start();
        await fabric.WebFrom(Virginia);
        var file = fabric.Work.Of("cut-dx.yaml");
        await File.WriteAllTextAsync(file, $$"""
            drill: 1
            name: cut-dx
            owner: whoever watches
            reason: The shop does not notice when dx goes dark.
            steady: { before: 2s, after: 90s, linksUp: [ dx, {{Network.SecondLink}} ], services: [ web.shop, cache.shop ], successPercentMin: 90 }
            actions: [ { id: dark, kind: link-blackhole, gateway: paris-1, link: dx, duration: 4s, means: seam } ]
            probes:
              - { name: pages, kind: http, service: web.shop, perSecond: 50, timeout: 20s }
              - { name: visitors, kind: connect, service: web.shop, timeout: 20s }
              - { name: cache, kind: connect, service: cache.shop, timeout: 20s }
              - { name: names, kind: dns, service: web.shop, timeout: 20s }
            expect: { requestsFailedMax: 0, connectionsDroppedMax: 0, recoveryMsMax: 90000 }

            """);
        // It outlives the demo, as reports do.
        ReportFolder = Directory.CreateTempSubdirectory("fabric-drill-report-").FullName;
        for (var tries = 1; ; tries++)
        {
            await fabric.LinksUp();
            await fabric.ServicesUp();
            var run = await Command.Run(Network.AtShop(fabric.FabricCommand("drill", "run", file, "--report", ReportFolder, "--history", fabric.Work.Of("drills"),
                "--topology", fabric.Paris.TopologyFolder, "--socket", fabric.Paris.Socket)), TimeSpan.FromMinutes(4));
            var path = Path.Combine(ReportFolder, DrillReports.JsonName);
            var record = File.Exists(path) ? DrillRecordJson.Read(await File.ReadAllTextAsync(path), DrillReports.JsonName) : null;
            if (run.ExitCode == 0 && record is not null)
            {
                return string.Create(CultureInfo.InvariantCulture,
                    $"{record.Probes.Sum(p => p.Attempts):N0} probes, {record.Probes.Sum(p => p.Failed)} failed; noticed after {record.DetectionMs:0} ms; report: {Path.Combine(ReportFolder, DrillReports.HtmlName)}");
            }

            // That a busy machine did not let it begin says nothing of the fabric.
            if (tries == DrillTries || record?.Verdicts.Any(v => v is { Name: "steadyBefore", Held: false }) != true)
            {
                var probes = record?.Probes.Where(p => p.Failed > 0).Select(p => $"{p.Probe}: {string.Join(", ", (p.Failures ?? []).Select(f => $"{f.Count} × {f.Error}"))}") ?? [];
                throw new LabException(BothEnds.Of($"fabric drill run ended with {run.ExitCode}: {record?.Why} {string.Join("; ", probes)}", run.ToString()));
            }
        }
    }

    /// <summary>Every request is answered, and soon from there: where a link seems late for a moment, another site may be nearer.</summary>
    private Task AnsweredBy(LabSite site)
    {
        var last = "";
        return Poll.Until($"answers from {site.Name}", Limit, async () => (last = (await fabric.Curl()).Checked().Output.Trim()) == Nginx.Greeting(site), () => last);
    }

    /// <summary>The newest refusal of guest in any gateway's audit log, or null. The exporting side writes it.</summary>
    private async Task<JsonElement?> NewestRefusal()
    {
        JsonElement? newest = null;
        foreach (var path in fabric.Gateways.Select(g => g.AuditLog).Where(File.Exists))
        {
            foreach (var line in (await File.ReadAllTextAsync(path)).Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                var entry = JsonDocument.Parse(line).RootElement;
                if (entry.GetProperty("verdict").GetString() == "deny" && entry.GetProperty("caller").GetString()!.EndsWith("/workload/guest", StringComparison.Ordinal))
                {
                    newest = entry;
                }
            }
        }

        return newest;
    }

    private static GatewayStatus Peer(Status status, LabSite site) => status.Sites.Single(s => s.Name == site.Name).Gateways.Single();

    private static void Expect(string what, string expected, string actual)
    {
        if (expected != actual)
        {
            throw new LabException($"{what}: expected '{expected}', found '{actual}'");
        }
    }
}
