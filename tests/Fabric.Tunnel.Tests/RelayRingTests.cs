using System.Collections.Immutable;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// A ring of four gateways where everybody asks everybody to relay to everybody, for ever, also those that cannot: what comes of it has
/// one relay at most, whatever fails in whatever order.
/// </summary>
public abstract class RelayRingTests(TunnelDriver driver) : IAsyncLifetime
{
    private static readonly string[] _names = ["a", "b", "c", "d"];
    private static readonly string[] _links = ["ab", "bc", "cd", "ad"];

    private readonly TestAuthority _authority = new();
    private readonly Dictionary<string, TestGateway> _gateways = [];
    private readonly HashSet<string> _cut = [];

    public async Task InitializeAsync()
    {
        var limits = new TunnelLimits { BulkLanes = 0, RedialMax = TimeSpan.FromMilliseconds(200) };
        foreach (var name in _names)
        {
            var gateway = _gateways[name] = new TestGateway(_authority.Gateway(name), driver, limits);
            gateway.Decide = (_, open) => RelayNames.TargetOf(open) is { } target ? new EgressVerdict.Relay(target)
                : new EgressVerdict.Handle(stream => stream.CopyToAsync(stream));
            gateway.Tunnel.Reconcile(Plan(name));
        }

        foreach (var name in _names)
        {
            _gateways[name].Tunnel.Reconcile(Plan(name));
        }

        Tell();
        await SettledAsync();
    }

    public async Task DisposeAsync()
    {
        foreach (var gateway in _gateways.Values)
        {
            await gateway.DisposeAsync();
        }

        _authority.Dispose();
    }

    [Fact]
    public async Task Peers_are_reached_over_two_links_at_most_whatever_fails_in_whatever_order()
    {
        foreach (var order in Orders([.. _links]))
        {
            foreach (var link in order)
            {
                Set(link, LinkFault.Cut);
                await SettledAsync();
            }

            foreach (var link in order)
            {
                Set(link, LinkFault.None);
            }

            await SettledAsync();
        }
    }

    /// <summary>All lanes are as they may be; then each pair that has one says something to each other.</summary>
    private async Task SettledAsync()
    {
        foreach (var (from, to) in Pairs())
        {
            var direct = Up(from, to);
            var relays = _names.Where(r => r != from && r != to && Up(from, r) && Up(r, to)).Select(RelayNames.Link).ToHashSet();
            var expected = direct ? [.. relays, Link(from, to)!] : relays;
            foreach (var (here, there) in new[] { (from, to), (to, from) })
            {
                await Pair.Until(() => expected.SetEquals(Lanes(here, there)), $"{here} has lanes to {there} over exactly {string.Join(", ", expected)}");
            }

            if (expected.Count > 0)
            {
                await EchoAsync(from, to);
            }
        }
    }

    private async Task EchoAsync(string from, string to)
    {
        await using var stream = await _gateways[from].Tunnel.OpenAsync(to, new StreamOpen("echo.x", 1, ""), default);
        var sent = "hello"u8.ToArray();
        await stream.WriteAsync(sent);
        var answer = new byte[sent.Length];
        await stream.ReadExactlyAsync(answer).AsTask().WaitAsync(Pair.Limit);
        Assert.Equal(sent, answer);
        stream.CompleteWrites();
    }

    private IEnumerable<string> Lanes(string here, string there) =>
        _gateways[here].SessionWith(there).Lanes.Where(l => l.State == LaneState.Up).Select(l => l.Link);

    private void Set(string link, LinkFault fault)
    {
        _ = fault == LinkFault.None ? _cut.Remove(link) : _cut.Add(link);
        var (one, two) = (link[..1], link[1..]);
        _gateways[one].Faults.Set(two, link, fault);
        _gateways[two].Faults.Set(one, link, fault);
        Tell();
    }

    /// <summary>The verdicts, as probes would give them.</summary>
    private void Tell()
    {
        foreach (var (here, there) in Pairs().SelectMany(p => new[] { p, (p.To, p.From) }))
        {
            var direct = Link(here, there) is { } link ? ImmutableArray.Create(link) : [];
            _gateways[here].Tunnel.SetPaths(there, new LinkPaths(
                [.. direct.Where(l => !_cut.Contains(l)), .. _names.Select(RelayNames.Link)], [], [.. direct.Where(_cut.Contains)]));
        }
    }

    private TunnelPlan Plan(string self)
    {
        var others = _names.Where(n => n != self).ToArray();
        return new TunnelPlan
        {
            Listen = [Pair.AnyPort],
            Lanes =
            [
                .. others.Where(p => Link(self, p) is not null && (string.CompareOrdinal(self, p) > 0 || _gateways.ContainsKey(p))).Select(p =>
                    new LanePlan(p, Link(self, p)!, string.CompareOrdinal(self, p) < 0 ? _gateways[p].Address("gateway port") : null)),
                .. others.Where(p => string.CompareOrdinal(self, p) < 0).SelectMany(p => others.Where(r => r != p)
                    .Select(r => new LanePlan(p, RelayNames.Link(r), null) { Relay = r })),
            ],
            Relays = others.Where(p => string.CompareOrdinal(p, self) < 0)
                .ToImmutableDictionary(p => p, p => others.Where(r => r != p).ToImmutableHashSet()),
        };
    }

    private bool Up(string one, string two) => Link(one, two) is { } link && !_cut.Contains(link);

    private static string? Link(string one, string two) => _links.FirstOrDefault(l => l == one + two || l == two + one);

    private static IEnumerable<(string From, string To)> Pairs() =>
        _names.SelectMany(a => _names.Where(b => string.CompareOrdinal(a, b) < 0).Select(b => (a, b)));

    private static IEnumerable<ImmutableList<string>> Orders(ImmutableList<string> rest) =>
        rest.IsEmpty ? [[]] : rest.SelectMany(first => Orders(rest.Remove(first)).Select(o => o.Insert(0, first)));
}

public sealed class PortableRelayRingTests() : RelayRingTests(TunnelDriver.Portable);

public sealed class LinuxRelayRingTests() : RelayRingTests(TunnelDriver.Linux);
