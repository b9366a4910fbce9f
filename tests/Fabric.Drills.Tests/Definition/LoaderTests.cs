using System.Text;
using Fabric.Drills.Definition;
using Fabric.Topology;

namespace Fabric.Drills.Tests.Definition;

public class LoaderTests
{
    private const string Whole = """
        drill: 1
        name: all-of-it
        owner: a team
        reason: Everything is written out.
        topology: ../three-sites.yaml
        steady: { before: 2s, after: 1m, linksUp: [ dx ], services: [ web.shop ], successPercentMin: 99.5 }
        actions:
          - { id: a, kind: link-down, gateway: paris-1, link: dx, peer: virginia-1, duration: 10s }
          - { id: b, kind: delay, gateway: paris-1, link: dx, direction: out, delay: 50ms, jitter: 5ms, start: 3s, duration: 1m, means: kernel }
          - { id: c, kind: loss, gateway: paris-1, link: dx, lossPercent: 12.5, duration: 10s }
          - { id: d, kind: bandwidth, gateway: paris-1, link: dx, bandwidth: 10Mbit, duration: 10s }
          - { id: e, kind: flap, gateway: paris-1, link: dx, down: 1s, up: 500ms, duration: 10s }
          - { id: f, kind: site-isolate, site: factory, duration: 10s }
          - { id: g, kind: source-gone, gateway: paris-1, duration: 10s }
          - { id: h, kind: service-down, gateway: virginia-1, service: web.shop, duration: 10s }
        probes:
          - { name: p, kind: bulk, service: web.shop, connections: 2, bytes: 1MiB, address: "127.0.0.1:80", timeout: 1s }
          - { name: q, kind: http, service: web.shop, perSecond: 5, path: /a }
        guards: { maxSites: 3, maxLinksPercent: 100, minHealthyPaths: 0, services: [ { service: cache.shop, minHealthyPaths: 2 } ],
          protectedServices: [ cache.shop ], windows: [ "mon-fri 09:00-16:00 Europe/Paris" ], capacityPercentMax: 70 }
        stop: { failedPercentMax: 20, pauseMax: 5s, protectedServiceDown: false }
        expect: { detectionMsMax: 1, pauseMsMax: 2, requestsFailedMax: 3, connectionsDroppedMax: 4, bytesLostMax: 5, recoveryMsMax: 6 }
        """;

    /// <summary>Each: what replaces what, and what is said of it.</summary>
    public static TheoryData<string, string, string> Broken => new()
    {
        { "name: all-of-it", "name: All", "t.yaml:2:7: error FAB0110: name: 'All' is not a name: a-z, 0-9 and '-', at most 40 characters, a letter or digit at both ends (hint: did you mean 'all'?)" },
        { "owner: a team\n", "", "t.yaml:1:1: error FAB0107: drill needs the key 'owner'" },
        { "owner: a team", "ownr: a team", "t.yaml:3:1: error FAB0106: drill has no key 'ownr' (hint: did you mean 'owner'?)" },
        { "reason: Everything is written out.", "reason: \"\"", "t.yaml:4:9: error FAB0204: reason: '' is not a text of 1 to 500 characters in one line" },
        { "kind: link-down", "kind: link-dwn", "t.yaml:8:20: error FAB0119: kind: 'link-dwn' is not one of link-down, link-blackhole" },
        { "link: dx, peer: virginia-1", "peer: virginia-1", "t.yaml:8:5: error FAB0107: an action of kind link-down needs the key 'link'" },
        { "peer: virginia-1,", "peer: virginia-1, delay: 5ms,", "t.yaml:8:84: error FAB0139: delay does not apply to an action of kind link-down (hint: it takes gateway, link, peer)" },
        { "id: b", "id: a", "t.yaml:9:11: error FAB0130: action 'a' is there twice; the first is at t.yaml:8:11" },
        { "lossPercent: 12.5", "lossPercent: 101", "t.yaml:10:67: error FAB0201: lossPercent: '101' is not a percentage: a number from 0 to 100" },
        { "lossPercent: 12.5", "lossPercent: 0", "t.yaml:10:67: error FAB0201: lossPercent: '0' loses nothing" },
        { "kind: source-gone, gateway: paris-1,", "kind: source-gone,", "t.yaml:14:5: error FAB0107: an action of kind source-gone needs one of the keys 'gateway' and 'site'" },
        { "bytes: 1MiB", "bytes: 1MB", "t.yaml:17:70: error FAB0202: bytes: '1MB' is not a size" },
        { "path: /a", "bytes: 1MiB", "t.yaml:18:68: error FAB0139: bytes does not apply to a probe of kind http (hint: it takes perSecond, connections, path)" },
        { "09:00-16:00 Europe/Paris", "09:00-16:00 Europe/Pris", "t.yaml:20:49: error FAB0203: windows[0]: 'mon-fri 09:00-16:00 Europe/Pris' names no time zone: 'Europe/Pris' is not in the IANA database" },
        { "mon-fri 09:00", "mon-fry 09:00", "t.yaml:20:49: error FAB0203: windows[0]: 'mon-fry 09:00-16:00 Europe/Paris' is not a window" },
        { "kind: bulk, service: web.shop, connections: 2, bytes: 1MiB", "kind: dns, service: web.shop", "t.yaml:22:42: error FAB0205: pauseMsMax: no probe of the drill measures it (hint: add a probe of kind live or bulk, or leave it out)" },
        { "duration: 10s }\n  - { id: b", "duration: 999ms }\n  - { id: b", "t.yaml:8:87: error FAB0114: duration: '999ms' is not between 1s and 1h" },
        { "service: cache.shop, minHealthyPaths: 2", "service: \"*.shop\", minHealthyPaths: 2", "t.yaml:19:89: error FAB0121: service: '*.shop' is not a service: name.namespace (hint: drills name each service)" },
    };

    /// <summary>The same, of names that are looked up.</summary>
    public static TheoryData<string, string, string> Unknown => new()
    {
        { "link: dx, peer", "link: dy, peer", "t.yaml:8:55: error FAB0206: action 'a': there is no link 'dy' (hint: did you mean 'dx'?)" },
        { "peer: virginia-1", "peer: factory-1", "t.yaml:8:65: error FAB0206: action 'a': link 'dx' does not join 'paris-1' with 'factory-1'" },
        { "site: factory", "site: fabric", "t.yaml:13:40: error FAB0206: action 'f': there is no site 'fabric' (hint: there are paris, virginia, factory)" },
        { "kind: source-gone, gateway: paris-1", "kind: source-gone, gateway: paris-2", "t.yaml:14:42: error FAB0206: action 'g': there is no gateway 'paris-2' (hint: did you mean 'paris-1'?)" },
        { "gateway: virginia-1, service: web.shop", "gateway: paris-1, service: web.shop", "t.yaml:15:61: error FAB0206: action 'h': service 'web.shop' is not exported by paris, the site of paris-1" },
        { "linksUp: [ dx ]", "linksUp: [ dz ]", "t.yaml:6:45: error FAB0131: there is no link 'dz'" },
        { "kind: bulk, service: web.shop", "kind: bulk, service: web.shp", "t.yaml:17:37: error FAB0131: there is no service 'web.shp' (hint: did you mean 'web.shop'?)" },
        { "perSecond: 5", "port: 81, perSecond: 5", "t.yaml:18:53: error FAB0141: service 'web.shop' has no port 81 (hint: there are 80)" },
        { "protectedServices: [ cache.shop ]", "protectedServices: [ cash.shop ]", "t.yaml:20:24: error FAB0131: there is no service 'cash.shop'" },
    };

    [Fact]
    public void All_of_it_is_read()
    {
        var (drill, diagnostics) = DrillLoader.Load(new TopologyFile("t.yaml", Whole));
        Assert.Empty(diagnostics);
        Assert.Equal(("all-of-it", "a team", "../three-sites.yaml"), (drill!.Name, drill.Owner, drill.Topology));
        Assert.Equal((TimeSpan.FromSeconds(2), TimeSpan.FromMinutes(1), 99.5), (drill.Steady.Before, drill.Steady.After, drill.Steady.SuccessPercentMin));
        Assert.Equal(new DrillAction("a", "link-down", TimeSpan.Zero, TimeSpan.FromSeconds(10), "paris-1", Link: "dx", Peer: "virginia-1"), drill.Actions[0]);
        Assert.Equal(new DrillAction("b", "delay", TimeSpan.FromSeconds(3), TimeSpan.FromMinutes(1), "paris-1", Link: "dx", Direction: "out", DelayMs: 50,
            JitterMs: 5, Means: "kernel"), drill.Actions[1]);
        Assert.Equal((12.5, 10_000_000, 1000, 500), (drill.Actions[2].LossPercent, drill.Actions[3].BitsPerSecond, drill.Actions[4].DownMs, drill.Actions[4].UpMs));
        Assert.Equal(new ProbePlan("p", "bulk", "web.shop", 0, 20, 2, 1 << 20, "127.0.0.1:80", "/", TimeSpan.FromSeconds(1)), drill.Probes[0]);
        Assert.Equal((3, 100.0, 0, 70.0), (drill.Guards.MaxSites, drill.Guards.MaxLinksPercent, drill.Guards.MinHealthyPaths, drill.Guards.CapacityPercentMax));
        Assert.Equal(2, drill.Guards.PathsOfServices["cache.shop"]);
        Assert.Equal(new StopConditions(20, TimeSpan.FromSeconds(5), false), drill.Stop);
        Assert.Equal(new DrillExpectations(1, 2, 3, 4, 5, 6), drill.Expect);
    }

    [Fact]
    public void Defaults_are_those_that_are_documented()
    {
        var drill = Samples.Drill("  - { id: a, kind: gateway-kill, gateway: paris-1, duration: 1s }");
        Assert.Equal((TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(30), 100.0), (drill.Steady.Before, drill.Steady.After, drill.Steady.SuccessPercentMin));
        Assert.Equal((1, 50.0, 1, 80.0), (drill.Guards.MaxSites, drill.Guards.MaxLinksPercent, drill.Guards.MinHealthyPaths, drill.Guards.CapacityPercentMax));
        Assert.Equal(new StopConditions(50, TimeSpan.FromMinutes(1), true), drill.Stop);
        Assert.Equal(new DrillExpectations(null, null, null, null, null, null), drill.Expect);
    }

    [Theory]
    [MemberData(nameof(Broken))]
    public void What_is_wrong_is_told_at_its_place(string text, string with, string expected) => Told(text, with, expected, false);

    [Theory]
    [MemberData(nameof(Unknown))]
    public void What_is_not_there_is_told_at_its_place(string text, string with, string expected) => Told(text, with, expected, true);

    [Fact]
    public void All_errors_are_told_at_once()
    {
        var text = Whole.Replace("kind: link-down", "kind: nothing").Replace("12.5", "many").Replace("name: q", "name: Q").Replace("expect:", "expects:");
        var codes = DrillLoader.Load(new TopologyFile("t.yaml", text)).Diagnostics.Select(d => d.Code);
        Assert.Equal([DiagnosticCodes.BadChoice, DiagnosticCodes.MissingKey, DrillCodes.BadPercent, DiagnosticCodes.BadName, DiagnosticCodes.UnknownKey], codes);
    }

    [Fact]
    public void A_drill_that_its_own_guards_refuse_in_any_case_is_not_valid()
    {
        var text = Whole.Replace("maxSites: 3", "maxSites: 2");
        var result = DrillLoader.Load(new TopologyFile("t.yaml", text), Samples.ThreeSites);
        Assert.Null(result.Drill);
        Assert.Contains(result.Diagnostics, d => d.Code == DrillCodes.AlwaysRefused && d.Message.Contains("guard sites refuses it even where all is up: 3 of at most 2"));
    }

    [Fact]
    public void A_file_that_is_too_long_is_not_read()
    {
        var result = DrillLoader.Load(new TopologyFile("t.yaml", new string('#', DrillLoader.MaxLength + 1)));
        Assert.Contains("at most 1048576", Assert.Single(result.Diagnostics).Message);
    }

    [Fact]
    public void Whatever_the_text_it_is_a_drill_or_errors()
    {
        var random = new Random(20_261_127);
        var (accepted, codes) = (0, new HashSet<string>());
        string[] tokens = [":", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "|", "'", "\"", "\\", "#", "---\n", "\n", "\t", "~", "\0", "\ud800", "😀", "-1", "0", "1e3",
            "99999999999999999999", "101", "10s", "5ms", "GiB", "mon-fri", "24:00-24:00 UTC", "name: ", "kind: ", "link-down", "actions: []", "flap", "guards:\n", "*.shop", "."];
        for (var i = 0; i < 3_000; i++)
        {
            var text = new StringBuilder(Whole);
            for (var edits = random.Next(1, 4); edits > 0; edits--)
            {
                var at = random.Next(text.Length);
                switch (random.Next(4))
                {
                    case 0: text.Insert(at, tokens[random.Next(tokens.Length)]); break;
                    case 1: text.Remove(at, Math.Min(random.Next(1, 20), text.Length - at)); break;
                    case 2: text[at] = (char)random.Next(1, 128); break;
                    default: text.Insert(at, text.ToString(at, Math.Min(random.Next(1, 60), text.Length - at))); break;
                }
            }

            var (drill, diagnostics) = DrillLoader.Load(new TopologyFile("t.yaml", text.ToString()), i % 2 == 0 ? Samples.ThreeSites : null);
            Assert.Equal(drill is null, diagnostics.Any(d => d.Severity == Severity.Error));
            Assert.All(diagnostics, d => Assert.True(d is { Line: >= 1, Column: >= 1, Message.Length: < 1_500 } && !d.ToString().Contains('\n'), d.ToString()));
            accepted += drill is null ? 0 : 1;
            codes.UnionWith(diagnostics.Select(d => d.Code));
        }

        // If all were refused by the parser, what is behind it would not have been reached.
        Assert.InRange(accepted, 10, 2_900);
        Assert.InRange(codes.Count, 15, 100);
    }

    [Theory]
    [InlineData("[", 100_000)]
    [InlineData("- ", 100_000)]
    [InlineData("actions:\n", 50_000)]
    [InlineData("- &a x\n", 50_000)]
    public void Repetition_is_bounded(string text, int times) =>
        Assert.NotEmpty(DrillLoader.Load(new TopologyFile("t.yaml", string.Concat(Enumerable.Repeat(text, times)))).Diagnostics);

    private static void Told(string text, string with, string expected, bool lookUp)
    {
        Assert.Contains(text, Whole);
        var result = DrillLoader.Load(new TopologyFile("t.yaml", Whole.Replace(text, with)), lookUp ? Samples.ThreeSites : null);
        Assert.Null(result.Drill);
        Assert.True(result.Diagnostics.Any(d => d.ToString().StartsWith(expected, StringComparison.Ordinal)), string.Join('\n', result.Diagnostics));
    }
}
