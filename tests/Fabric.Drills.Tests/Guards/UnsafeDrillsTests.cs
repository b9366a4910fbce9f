using Fabric.Drills.Definition;
using Fabric.Drills.Guards;
using Fabric.Protocol.Proto;
using Fabric.Topology.Model;

namespace Fabric.Drills.Tests.Guards;

/// <summary>Drills that must not run, each on a model of the running fabric: refused by the guard that is for it, with the reason.</summary>
public class UnsafeDrillsTests
{
    private static readonly DateTimeOffset Friday = new(2026, 11, 27, 10, 0, 0, TimeSpan.Zero);

    private sealed record Unsafe(
        string Name, string Guard, string Reason, string Actions, string Rest = "", Func<FabricView, FabricView>? Fabric = null, string Topology = "three-sites.yaml");

    private static readonly Unsafe[] All =
    [
        new("a link that there is not", "targets", "there is no link 'dy'", Cut("paris-1", "dy")),
        new("a link that the gateway is not at", "targets", "link 'dx' has no end at gateway 'factory-1'", Cut("factory-1", "dx")),
        new("a peer that is not over that link", "targets", "does not join 'paris-1' with 'factory-1'", Cut("paris-1", "dx", "peer: factory-1")),
        new("a gateway that there is not", "targets", "there is no gateway 'paris-2'", Kill("paris-2")),
        new("a site that there is not", "targets", "there is no site 'rome'", Isolate("rome")),
        new("a service that the site does not export", "targets", "service 'web.shop' is not exported by paris", Down("paris-1", "web.shop")),
        new("a service that there is not", "targets", "there is no service 'mail.shop'", "  - { id: a, kind: dns-withdraw, gateway: paris-1, service: mail.shop, duration: 10s }"),
        new("two sites where one is allowed", "sites", "2 of at most 1: factory, paris", Cut("paris-1", "internet", "peer: factory-1") + "\n" + Cut("factory-1", "internet", "peer: virginia-1", "b")),
        new("most of the links", "links", "3 of 4 links at once, 75 %", Isolate("virginia")),
        new("the last paths of a service, by two actions that are harmless alone", "paths", "cache.shop would have no path from paris",
            Cut("paris-1", "dx") + "\n" + Cut("paris-1", "internet", id: "b"), "guards: { maxLinksPercent: 100 }"),
        new("the link that is left is down already", "paths", "cache.shop would have no path from paris, and needs 1", Cut("paris-1", "dx"), "",
            v => Link(Link(v, "internet", "virginia-1", l => l.State = "down"), "internet", "factory-1", l => l.State = "down")),
        new("the link that is left is drained", "paths", "cache.shop would have no path from paris", Cut("paris-1", "dx"), "",
            v => Link(Link(v, "internet", "virginia-1", l => l.Drained = "for work"), "internet", "factory-1", l => l.Drained = "for work")),
        new("fewer paths than are asked for", "paths", "cache.shop would have 2 paths from paris, and needs 3: internet to virginia-1, by factory-1 to virginia-1",
            Cut("paris-1", "dx"), "guards: { minHealthyPaths: 3 }"),
        new("the only site that exports a service", "paths", "cache.shop would have no path from paris", Kill("virginia-1"), "guards: { maxLinksPercent: 100 }"),
        new("a service's last healthy endpoints", "paths", "web.shop would have no path from paris", Down("virginia-1", "web.shop"), "", v => Sick(v, "web.shop", "factory")),
        new("the name of a service, at the only gateway of a site that calls it", "paths", "web.shop would have no path from paris",
            "  - { id: a, kind: dns-withdraw, gateway: paris-1, service: web.shop, duration: 10s }"),
        new("a link that a protected service is on", "protected", "link dx (paris-1, virginia-1) carries it from paris", Cut("paris-1", "dx"), "guards: { protectedServices: [ cache.shop ] }"),
        new("a site that exports a protected service", "protected", "virginia exports it", Kill("virginia-1"), "guards: { protectedServices: [ web.shop ] }"),
        new("a protected service itself", "protected", "it is the target itself", Down("virginia-1", "web.shop"), "guards: { protectedServices: [ web.shop ] }"),
        new("a link that may carry a protected service, unseen from here", "protected", "may carry it from paris",
            Cut("virginia-1", "dx"), "guards: { protectedServices: [ cache.shop ] }", v => FabricView.Ideal(v.Topology, v.Now, "factory-1")),
        new("a leg of the relay that a protected service takes", "protected", "carries it from paris",
            Cut("factory-1", "internet", "peer: virginia-1"), "guards: { protectedServices: [ cache.shop ] }", v => Active(v, "virginia-1", "via:factory-1")),
        new("outside of its window", "window", "now it is Fri 2026-11-27 10:00 UTC", Cut("paris-1", "dx"), "guards: { windows: [ \"sat,sun 00:00-24:00 UTC\" ] }"),
        new("a window that closes before it ends", "window", "closes in 10 s, and the drill may take 45 s", Cut("paris-1", "dx"),
            "guards: { windows: [ \"fri 08:00-11:00 Europe/Paris\" ] }", v => v with { Now = Friday.AddSeconds(-10) }),
        new("another drill that has a fault in force", "one-at-a-time", "drill other-1 has delay in force at factory-1", Cut("paris-1", "dx"), "", v => InForce(v, "factory-1", "in-force")),
        new("what another drill could not put back", "one-at-a-time", "not reverted: drill other-1", Cut("paris-1", "dx"), "", v => InForce(v, "factory-1", "revert-failed")),
        new("another run on this host", "one-at-a-time", "drill other-2 is under way on this host", Cut("paris-1", "dx"), "", v => v with { Holder = "other-2" }),
        new("a gateway that allows no faults", "abilities", "virginia-1 cannot be asked: it does not allow faults", Cut("virginia-1", "dx"), "", v => Silent(v, "virginia-1", "it does not allow faults")),
        new("a gateway that is out of reach", "abilities", "virginia-1 cannot be asked: no lane to it", Cut("virginia-1", "dx"), "", v => Silent(v, "virginia-1", "no lane to it")),
        new("what the gateway cannot do", "abilities", "paris-1 cannot do link-blackhole: nft is missing", Cut("paris-1", "dx"), "", v => Able(v, "paris-1", "link-blackhole", "", "nft is missing")),
        new("the kernel's means where they are not", "abilities", "paris-1 does link-blackhole by seam, and kernel is asked for: no CAP_NET_ADMIN", Cut("paris-1", "dx", "means: kernel"), "",
            v => Able(v, "paris-1", "link-blackhole", "seam", "no CAP_NET_ADMIN")),
        new("longer than it may last there", "abilities", "virginia-1 does gateway-pause for at most 5.5 s: systemd ends it",
            "  - { id: a, kind: gateway-pause, gateway: virginia-1, duration: 20s }", "guards: { maxLinksPercent: 100 }", v => Able(v, "virginia-1", "gateway-pause", "kernel", "systemd ends it", 5_500)),
        new("the gateway that it is run through", "controller", "paris-1 is the gateway that the drill is run through", Kill("paris-1"), "guards: { maxLinksPercent: 100 }"),
        new("another topology than the one that runs", "topology", "paris-1 runs 0123456789ab", Cut("paris-1", "dx"), "", v => Changed(v, s => s.TopologyRevision = "0123456789ab")),
        new("more load than the link that is left can carry", "capacity", "link dx would carry 9 Gbit/s, 90 % of its 10 Gbit/s, at most 80 %",
            Cut("paris-1", "internet", "peer: virginia-1"), "", v => Active(v, "virginia-1", "internet") with { BitsPerSecond = new Dictionary<string, double> { ["virginia-1"] = 9e9 } }),
        new("half of the gateways of the cluster's only way", "paths", "orders-db.data would have 1 path from cluster, and needs 2: wan to datacentre-2",
            Kill("datacentre-1"), "guards: { maxLinksPercent: 70, minHealthyPaths: 2 }", Topology: "cluster-and-vm.yaml"),
    ];

    public static TheoryData<string> Names => [.. All.Select(u => u.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Is_refused_with_its_reason(string name)
    {
        var (drill, view, u) = Set(name);
        var verdicts = DrillGuard.Evaluate(drill, view);
        var verdict = Assert.Single(verdicts, v => v.Guard == u.Guard);
        Assert.False(verdict.Allowed, verdict.Reason);
        Assert.Contains(u.Reason, verdict.Reason);
    }

    /// <summary>Without what makes it unsafe, that guard has nothing against it: it is not one that always refuses.</summary>
    [Theory]
    [InlineData("topology")]
    [InlineData("targets")]
    [InlineData("abilities")]
    [InlineData("controller")]
    [InlineData("one-at-a-time")]
    [InlineData("window")]
    [InlineData("sites")]
    [InlineData("links")]
    [InlineData("paths")]
    [InlineData("protected")]
    [InlineData("capacity")]
    public void A_safe_drill_is_allowed_and_told_why(string guard)
    {
        var drill = Samples.Drill(Cut("paris-1", "dx"), "guards: { windows: [ \"fri 09:00-16:00 UTC\" ], minHealthyPaths: 2 }");
        var verdict = Assert.Single(DrillGuard.Evaluate(drill, FabricView.Ideal(Samples.ThreeSites, Friday)), v => v.Guard == guard);
        Assert.True(verdict.Allowed, verdict.Reason);
        Assert.NotEmpty(verdict.Reason);
    }

    [Fact]
    public void What_is_not_known_of_capacities_is_said()
    {
        var drill = Samples.Drill(Cut("paris-1", "dx"));
        string Reason(FabricView view) => DrillGuard.Evaluate(drill, view).Single(v => v.Guard == "capacity").Reason;
        var view = FabricView.Ideal(Samples.ThreeSites, Friday);
        Assert.Equal("unknown: link internet, which takes the load to virginia-1, declares no capacity", Reason(view));
        drill = Samples.Drill(Cut("paris-1", "internet", "peer: virginia-1"));
        Assert.Equal("unknown: the load to virginia-1 was not measured", Reason(Active(view, "virginia-1", "internet")));
        drill = Samples.Drill(Cut("virginia-1", "internet", "peer: factory-1"));
        Assert.Contains("the load of links between other gateways is not seen from paris-1", Reason(view));
    }

    [Fact]
    public void A_service_may_be_given_up_by_name()
    {
        var drill = Samples.Drill(Kill("virginia-1"), "guards: { maxLinksPercent: 75, services: [ { service: cache.shop, minHealthyPaths: 0 } ] }");
        Assert.All(DrillGuard.Evaluate(drill, FabricView.Ideal(Samples.ThreeSites, Friday)), v => Assert.True(v.Allowed, v.Reason));
    }

    /// <summary>Faults that never are in force together are not counted together.</summary>
    [Fact]
    public void Actions_that_follow_each_other_do_not_add_up()
    {
        var actions = Cut("paris-1", "dx") + "\n  - { id: b, kind: link-down, gateway: paris-1, link: internet, start: 10s, duration: 10s }";
        Assert.All(DrillGuard.Evaluate(Samples.Drill(actions), FabricView.Ideal(Samples.ThreeSites, Friday)), v => Assert.True(v.Allowed, v.Reason));
        var overlapping = Samples.Drill(actions.Replace("start: 10s", "start: 9s"), "guards: { maxLinksPercent: 74 }");
        Assert.Contains("3 of 4 links at once", DrillGuard.Evaluate(overlapping, FabricView.Ideal(Samples.ThreeSites, Friday)).Single(v => !v.Allowed && v.Guard == "links").Reason);
    }

    [Theory]
    [InlineData("link-down, gateway: paris-1, link: dx", "virginia over dx", "virginia over internet", "moves at 0 s")]
    [InlineData("service-down, gateway: virginia-1, service: web.shop", "virginia over dx", "factory over internet", "moves at 0 s")]
    [InlineData("site-isolate, site: factory", "virginia over dx", "virginia over dx", "stays")]
    [InlineData("dns-withdraw, gateway: paris-1, service: web.shop", "virginia over dx", "nobody", "cut off from 0 s on")]
    [InlineData("site-isolate, site: paris", "virginia over dx", "nobody", "cut off from 0 s on")]
    public void What_would_happen(string kind, string now, string during, string why)
    {
        var drill = Samples.Drill($"  - {{ id: a, kind: {kind}, duration: 10s }}");
        Assert.Equal(new ServiceForecast("web.shop", now, during, why), WhatIf.Of(drill, FabricView.Ideal(Samples.ThreeSites, Friday))[0]);
    }

    [Fact]
    public void Where_no_link_is_left_a_relay_takes_over()
    {
        var drill = Samples.Drill(Cut("paris-1", "dx") + "\n" + Cut("paris-1", "internet", "peer: virginia-1", "b"));
        Assert.Equal("virginia by relay factory-1", WhatIf.Of(drill, FabricView.Ideal(Samples.ThreeSites, Friday)).Single(f => f.Service == "cache.shop").During);
    }

    private static (DrillDefinition, FabricView, Unsafe) Set(string name)
    {
        var u = All.Single(a => a.Name == name);
        var view = FabricView.Ideal(Samples.Load(u.Topology), Friday);
        return (Samples.Drill(u.Actions, u.Rest), u.Fabric?.Invoke(view) ?? view, u);
    }

    private static string Cut(string gateway, string link, string more = "", string id = "a") =>
        $"  - {{ id: {id}, kind: link-blackhole, gateway: {gateway}, link: {link}, duration: 10s{(more.Length > 0 ? ", " + more : "")} }}";

    private static string Kill(string gateway) => $"  - {{ id: a, kind: gateway-kill, gateway: {gateway}, duration: 10s }}";

    private static string Isolate(string site) => $"  - {{ id: a, kind: site-isolate, site: {site}, duration: 10s }}";

    private static string Down(string gateway, string service) => $"  - {{ id: a, kind: service-down, gateway: {gateway}, service: {service}, duration: 10s }}";

    private static FabricView Changed(FabricView view, Action<Status> change)
    {
        var status = view.Status.Clone();
        change(status);
        return view with { Status = status };
    }

    private static FabricView Link(FabricView view, string link, string peer, Action<LinkStatus> change) =>
        Changed(view, s => change(s.Links.Single(l => l.Name == link && l.Peer == peer)));

    private static FabricView Active(FabricView view, string gateway, string link) =>
        Changed(view, s => s.Sites.SelectMany(x => x.Gateways).Single(g => g.Name == gateway).ActiveLink = link);

    private static FabricView Sick(FabricView view, string service, string site) => Changed(view, s =>
    {
        var status = s.Services.Single(x => x.Name == service).Sites.Single(x => x.Site == site);
        (status.Healthy, status.State) = (0, "down");
    });

    private static FabricView InForce(FabricView view, string gateway, string state) => Answer(view, gateway, a =>
        a.Faults.Add(new FaultState { Fault = new FaultSpec { Id = "x", Drill = "other-1", Kind = "delay" }, State = state }));

    private static FabricView Able(FabricView view, string gateway, string kind, string means, string why, uint longestMs = 0) => Answer(view, gateway, a =>
    {
        var ability = a.Abilities.Single(x => x.Kind == kind);
        (ability.Means, ability.Why, ability.LongestMs) = (means, why, longestMs);
    });

    private static FabricView Answer(FabricView view, string gateway, Action<FaultList> change)
    {
        var answer = view.Answers[gateway].Clone();
        change(answer);
        return view with { Answers = new Dictionary<string, FaultList>(view.Answers) { [gateway] = answer } };
    }

    private static FabricView Silent(FabricView view, string gateway, string why) => view with
    {
        Answers = view.Answers.Where(a => a.Key != gateway).ToDictionary(),
        Silent = new Dictionary<string, string> { [gateway] = why },
    };
}
