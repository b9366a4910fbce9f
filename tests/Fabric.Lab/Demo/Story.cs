using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

using Fabric.Drills.Reports;
using Fabric.Lab.Gateways;
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

    /// <summary>The longest pause that the silent cut may make.</summary>
    private static readonly TimeSpan StallLimit = TimeSpan.FromSeconds(1);

    /// <summary>
    /// What still counts as no pause: a machine of two cores that is busy with something else makes up to 250 ms by itself.
    /// </summary>
    private static readonly TimeSpan NoPause = TimeSpan.FromMilliseconds(500);

    private readonly List<DrillStep> _steps = [];
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
    public async Task<DrillReport> Tell()
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

        var report = DrillReport.Of(Network.Mode == "namespaces" ? DrillMode.Namespaces : DrillMode.Loopback, _steps, Cost(), budget: null);
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
        DrillStep? step = null;
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

                step = new DrillStep(name, true, watch.ElapsedMilliseconds, details);
            }
            catch (Exception e) when (e is not OperationCanceledException || !Interruption.Token.IsCancellationRequested)
            {
                step = new DrillStep(name, false, watch.ElapsedMilliseconds, e is LabException ? e.Message : e.ToString());
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
        await fabric.StartWorkloads(payloadBytes);
        await fabric.Join();
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
        var answer = (await fabric.Curl()).Checked();
        Expect("the answer", Nginx.Greeting(Virginia), answer.Output.Trim());
        var after = await fabric.Paris.Until("bytes from virginia counted", TimeSpan.FromSeconds(2), s => Peer(s, Virginia).BytesReceived > before.BytesReceived);
        Expect("the active link", "dx", Peer(after, Virginia).ActiveLink);
        return $"{LabNetwork.Web} is {await Network.Resolve(LabNetwork.Web)} in paris: \"{answer.Output.Trim()}\"";
    }

    private async Task<string> Hold()
    {
        _session = await fabric.OpenRedis();
        return await _session.Holds() ? $"client {_session.FirstId} of redis-server in virginia; checked again after each step"
            : throw new LabException("redis-cli: PING, SET and GET were not answered");
    }

    private async Task<string> SilentCut()
    {
        var cut = await SilentCuts.Run(fabric, teller.Now);
        _stallMs = Math.Round(cut.Download.LongestPause.TotalMilliseconds, 1);
        _detectedMs = Math.Round(cut.DetectedMs, 1);
        _bytesLost = cut.Download.BytesLost;
        _dropped += cut.Download is { CurlExitCode: 0, Connections: 1 } ? 0 : 1;
        var told = string.Create(CultureInfo.InvariantCulture,
            $"cut after {cut.CutAt / MiB} of {payloadBytes / MiB} MiB; down noticed after {_detectedMs} ms; longest pause {_stallMs} ms; SHA-256 {cut.Download.Sha256[..16]}… over {Network.SecondLink}");
        return !cut.Download.Held ? throw new LabException($"{told}: {cut.Download}")
            : cut.Download.LongestPause >= StallLimit ? throw new LabException($"{told}: the pause must stay below {StallLimit.TotalMilliseconds} ms")
            : told;
    }

    private async Task<string> MoveBack()
    {
        var before = Peer(await fabric.Paris.Status(), Virginia);
        Expect("the active link while dx is dark", Network.SecondLink, before.ActiveLink);
        // Long enough to be on its way until dx is trusted again, whatever the speed; stopped afterwards.
        await using var download = await Download.Start(fabric.Work, Network, fabric.Payload, times: 1000);
        await download.Reach(8 * MiB, TimeSpan.FromSeconds(30));
        await Network.HealDx();
        download.ForgetPauses();
        var watch = Stopwatch.StartNew();
        var after = await fabric.Paris.Until("streams back on dx", TimeSpan.FromSeconds(45),
            s => Peer(s, Virginia).ActiveLink == "dx" && s.Links.Single(l => l.Name == "dx").State == "up");
        var back = watch.Elapsed;
        await download.Reach(download.Received + 64 * MiB, TimeSpan.FromSeconds(30));
        var result = await download.StopHere();
        _dropped += result.Held ? 0 : 1;
        var told = string.Create(CultureInfo.InvariantCulture, $"back after {back.TotalSeconds:0.0} s ({Peer(after, Virginia).ActiveReason}); longest pause {result.LongestPause.TotalMilliseconds:0} ms");
        return !result.Held ? throw new LabException($"{told}: {result}")
            : result.LongestPause >= NoPause ? throw new LabException($"{told}: it must stay below {NoPause.TotalMilliseconds} ms")
            : told;
    }

    private async Task<string> Failover()
    {
        await fabric.Paris.Until("web.shop from virginia", TimeSpan.FromSeconds(20), s => s.Services.Single(x => x.Name == "web.shop").ChosenSite == "virginia");
        Expect("the answer before", Nginx.Greeting(Virginia), (await fabric.Curl()).Checked().Output.Trim());
        using var enough = new CancellationTokenSource();
        var answers = new List<CommandResult>();
        var client = Task.Run(async () =>
        {
            while (!enough.IsCancellationRequested)
            {
                answers.Add(await fabric.Curl());
            }
        });
        await Task.Delay(300, Interruption.Token);
        await fabric.VirginiaWeb.Stop();
        await Task.Delay(2500, Interruption.Token);
        await enough.CancelAsync();
        await client;

        var failed = answers.Where(a => a.ExitCode != 0).ToArray();
        if (failed.Length > 1)
        {
            throw new LabException($"{failed.Length} of {answers.Count} requests failed; only the one in flight may\n{string.Join('\n', failed.Take(3).Select(f => f.ToString()))}");
        }

        Expect("the answer after", Nginx.Greeting(Network.Factory), answers[^1].Output.Trim());
        return $"{answers.Count} requests one after the other, {failed.Length} failed; {answers.Count(a => a.Output.Trim() == Nginx.Greeting(Network.Factory))} answered by factory";
    }

    private async Task<string> Refusal()
    {
        var refused = await fabric.Curl(from: Network.Guest.ToString());
        if (refused.ExitCode == 0)
        {
            throw new LabException($"guest was answered: {refused}");
        }

        var allowed = await fabric.Curl();
        Expect("the answer to shop", Nginx.Greeting(Network.Factory), allowed.Checked().Output.Trim());

        JsonElement entry = default;
        await Poll.Until("the refusal in an audit log", TimeSpan.FromSeconds(5), async () =>
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
        // A machine that is busy with something else may have made a link late just now.
        await fabric.LinksUp();
        await fabric.ActiveLink("dx");
        var json = await fabric.Fabric("status", "-o", "json", "--socket", fabric.Paris.Socket);
        var status = new JsonParser(JsonParser.Settings.Default.WithIgnoreUnknownFields(true)).Parse<Status>(json);

        Expect("the gateway", Network.Paris.Gateway, status.Gateway);
        foreach (var link in status.Links)
        {
            Expect($"link {link.Name} to {link.Peer}", "up", link.State);
        }

        var dx = status.Links.Single(l => l.Name == "dx");
        Expect("the role of dx", "active", dx.Role);
        Expect("the role of the other link to virginia", "standby", status.Links.Single(l => l.Name == Network.SecondLink && l.Peer == Virginia.Gateway).Role);
        Expect("the active link to virginia", "dx", Peer(status, Virginia).ActiveLink);
        if (dx.DetectedMs <= 0 || Peer(status, Virginia).Moves == 0)
        {
            throw new LabException($"nothing of the cut: detected_ms {dx.DetectedMs}, moves {Peer(status, Virginia).Moves}");
        }

        var web = status.Services.Single(s => s.Name == "web.shop");
        Expect("web.shop in virginia", "down", web.Sites.Single(s => s.Site == "virginia").State);
        Expect("web.shop in factory", "healthy", web.Sites.Single(s => s.Site == "factory").State);
        Expect("the site of web.shop", "factory", web.ChosenSite);
        Expect("its service address", (await Network.Resolve(LabNetwork.Web)).ToString(), web.ServiceAddress);
        Expect("the site of cache.shop", "virginia", status.Services.Single(s => s.Name == "cache.shop").ChosenSite);
        if (status.Streams == 0)
        {
            throw new LabException("no stream is carried, and yet the redis-cli session is open");
        }

        return $"{status.State}: {status.Links.Count} links up, dx active, web.shop from factory ({web.ChosenReason}), {status.Streams} streams open";
    }

    /// <summary>The same fault, declared: run by the program as a person would, from where the shop is.</summary>
    private async Task<string> Drill()
    {
        await fabric.VirginiaWeb.Start();
        await fabric.Paris.Until("web.shop from virginia", TimeSpan.FromSeconds(20), s => s.Services.Single(x => x.Name == "web.shop").ChosenSite == "virginia");
        var file = fabric.Work.Of("cut-dx.yaml");
        await File.WriteAllTextAsync(file, $$"""
            drill: 1
            name: cut-dx
            owner: whoever watches
            reason: The shop does not notice when dx goes dark.
            steady: { before: 2s, after: 60s, linksUp: [ dx, {{Network.SecondLink}} ], services: [ web.shop, cache.shop ], successPercentMin: 90 }
            actions: [ { id: dark, kind: link-blackhole, gateway: paris-1, link: dx, duration: 4s, means: seam } ]
            probes:
              - { name: pages, kind: http, service: web.shop, perSecond: 50 }
              - { name: visitors, kind: connect, service: web.shop }
              - { name: cache, kind: connect, service: cache.shop }
              - { name: names, kind: dns, service: web.shop }
            expect: { requestsFailedMax: 0, connectionsDroppedMax: 0, recoveryMsMax: 60000 }

            """);
        // It outlives the demo, as reports do.
        ReportFolder = Directory.CreateTempSubdirectory("fabric-drill-report-").FullName;
        var run = await Command.Run(Network.AtShop(fabric.FabricCommand("drill", "run", file, "--report", ReportFolder, "--history", fabric.Work.Of("drills"),
            "--topology", fabric.Paris.TopologyFolder, "--socket", fabric.Paris.Socket)), TimeSpan.FromMinutes(2));
        if (run.ExitCode != 0)
        {
            throw new LabException($"fabric drill run: {run}");
        }

        var record = DrillRecordJson.Read(await File.ReadAllTextAsync(Path.Combine(ReportFolder, DrillReports.JsonName)), DrillReports.JsonName);
        var failed = record.Probes.Sum(p => p.Failed);
        return string.Create(CultureInfo.InvariantCulture,
            $"{record.Probes.Sum(p => p.Attempts):N0} probes, {failed} failed; noticed after {record.DetectionMs:0} ms; report: {Path.Combine(ReportFolder, DrillReports.HtmlName)}");
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
