using System.Collections.Immutable;
using System.Globalization;

namespace Fabric.Routing.Sites;

/// <summary>
/// The order in which sites serve new connections to one port of a service. <see cref="Rank"/> runs once for each snapshot;
/// <see cref="Routes"/> for each connection. Immutable; safe for concurrent use.
/// </summary>
/// <remarks>
/// Locality first, then latency: the own site while one of its endpoints is healthy, then the lowest path score, then the order of
/// declaration. Plain round robin over all endpoints of all sites (clusterset DNS) does not serve: it pays an ocean for half of
/// the calls and keeps sending to a site whose catalog has gone stale. Within a site, gateways whose path is about as good as the best
/// share the load by two random choices: nearly as even as asking all, without the herd that "least loaded" causes when loads are
/// known late (Mitzenmacher, <i>The Power of Two Choices in Randomized Load Balancing</i>, 2001).
/// </remarks>
public sealed class SiteChoice
{
    /// <summary>Sites that can serve, best first, then those that cannot, in order of declaration.</summary>
    public ImmutableArray<SiteCandidate> Candidates { get; }

    /// <summary>Site that serves first; null when none can.</summary>
    public string? Chosen { get; }

    /// <summary>Why that one; or why none.</summary>
    public string Reason { get; }

    /// <summary>Since when none can, after one could; null while one can, and when none ever could.</summary>
    public TimeSpan? LostAt { get; }

    private SiteChoice(ImmutableArray<SiteCandidate> candidates, string? chosen, string reason, TimeSpan? lostAt) =>
        (Candidates, Chosen, Reason, LostAt) = (candidates, chosen, reason, lostAt);

    /// <summary>Ranks the sites that export the service.</summary>
    public static SiteChoice Rank(SiteQuestion question)
    {
        var sites = question.Exports.Select(site => site == question.LocalSite ? Own(question) : Other(question, site)).ToArray();
        // A stable sort keeps the order of declaration among equals.
        SiteCandidate[] usable = [.. sites.Where(s => s.Usable).OrderByDescending(s => s.Local).ThenBy(s => s.Score)];
        var unusable = sites.Where(s => !s.Usable).ToArray();
        var first = usable.FirstOrDefault();
        var reason = first is not null ? string.Join("; ", unusable.Select(s => s.Reason).Prepend(first.Reason))
            : sites.Length == 0 ? $"no site exports {question.Service}"
            : string.Join("; ", unusable.Select(s => s.Reason));
        var lostAt = first is not null ? null : question.Before?.Chosen is not null ? question.Now : question.Before?.LostAt;
        return new SiteChoice([.. usable, .. unusable], first?.Site, reason, lostAt);
    }

    /// <summary>Routes in the order in which to try them, at most one for each gateway.</summary>
    /// <param name="load">Streams that a gateway carries now.</param>
    /// <param name="random">Seeded by the caller; not shared between threads.</param>
    public ImmutableArray<SiteRoute> Routes(Func<string, int> load, Random random)
    {
        var routes = ImmutableArray.CreateBuilder<SiteRoute>();
        foreach (var site in Candidates)
        {
            if (!site.Usable)
            {
                break;
            }

            if (site.Local)
            {
                routes.Add(new SiteRoute(site.Site, null));
                continue;
            }

            var first = LessLoadedOfTwo(site.Near, load, random);
            routes.Add(new SiteRoute(site.Site, site.Near[first]));
            for (var i = 1; i < site.Near.Length; i++)
            {
                routes.Add(new SiteRoute(site.Site, site.Near[(first + i) % site.Near.Length]));
            }

            foreach (var gateway in site.Far)
            {
                routes.Add(new SiteRoute(site.Site, gateway));
            }
        }

        return routes.ToImmutable();
    }

    private static int LessLoadedOfTwo(ImmutableArray<string> gateways, Func<string, int> load, Random random)
    {
        if (gateways.Length == 1)
        {
            return 0;
        }

        var a = random.Next(gateways.Length);
        var b = random.Next(gateways.Length - 1);
        b += b >= a ? 1 : 0;
        return load(gateways[b]) < load(gateways[a]) ? b : a;
    }

    private static SiteCandidate Own(SiteQuestion question)
    {
        var (endpoints, healthy) = question.Local is { } local ? (local.Endpoints, local.Healthy) : (0, 0);
        var site = question.LocalSite;
        var reason = healthy > 0 ? $"{site} is the own site, {healthy} of {Endpoints(endpoints)} healthy"
            : endpoints == 0 ? $"{site} has no endpoint behind port {question.Port}"
            : $"{site}: none of {Endpoints(endpoints)} is healthy";
        return new SiteCandidate(site, healthy > 0, true, [], [], 0, endpoints, healthy, reason);
    }

    private static SiteCandidate Other(SiteQuestion question, string site)
    {
        var gateways = question.Gateways.Where(g => g.Site == site).ToArray();
        var faults = gateways.Select(g => Fault(question, g)).ToArray();
        GatewayView[] usable = [.. gateways.Where((_, i) => faults[i] is null).OrderBy(g => g.PathScore ?? double.PositiveInfinity)];
        // Gateways of a site see the same endpoints; the one heard last knows best.
        var known = gateways.Where(g => g.Health is not null && Fresh(question, g)).OrderBy(g => g.CatalogAge).FirstOrDefault();
        var (endpoints, healthy) = known?.Health is { } health ? (health.Endpoints, health.Healthy) : (0, 0);
        if (usable.Length == 0)
        {
            var why = gateways.Length == 0 ? $"{site} has no gateway" : string.Join(", ", faults.Select(f => $"{site}: {f}").Distinct());
            return new SiteCandidate(site, false, false, [], [], double.PositiveInfinity, endpoints, healthy, why);
        }

        // About as good: within the same 10 % and 2 ms that path choice calls no difference.
        var best = usable[0].PathScore ?? double.PositiveInfinity;
        var near = usable.TakeWhile(g => (g.PathScore ?? double.PositiveInfinity) <= best + Math.Max(2, best * 0.1)).ToArray();
        return new SiteCandidate(
            site, true, false,
            [.. near.Select(g => g.Gateway)],
            [.. usable.Skip(near.Length).Select(g => g.Gateway)],
            best, endpoints, healthy,
            $"{site} by {Gateways(near)}, path {Ms(best)}, {healthy} of {Endpoints(endpoints)} healthy");
    }

    /// <summary>Why a gateway is not used, or null.</summary>
    private static string? Fault(SiteQuestion question, GatewayView gateway) =>
        !gateway.Reachable ? $"{gateway.Gateway} cannot be reached{(gateway.PathReason.Length > 0 ? $" ({gateway.PathReason})" : "")}"
        : gateway.CatalogAge is null ? $"nothing is known from {gateway.Gateway} yet"
        : !Fresh(question, gateway) ? $"what {gateway.Gateway} said is {Seconds(gateway.CatalogAge.Value)} old, and believed for {Seconds(question.StaleAfter)}"
        : gateway.Draining ? $"{gateway.Gateway} is draining"
        : gateway.Health is not { } health || health.Endpoints == 0 ? $"{gateway.Gateway} exports no endpoint behind port {question.Port}"
        : health.Healthy == 0 ? $"none of {Endpoints(health.Endpoints)} behind {gateway.Gateway} is healthy"
        : null;

    private static bool Fresh(SiteQuestion question, GatewayView gateway) => gateway.CatalogAge <= question.StaleAfter;

    private static string Gateways(GatewayView[] gateways) => string.Join(" and ", gateways.Select(g => g.Gateway));

    private static string Endpoints(int count) => count == 1 ? "1 endpoint" : $"{count} endpoints";

    private static string Ms(double ms) =>
        double.IsInfinity(ms) ? "not measured yet" : string.Create(CultureInfo.InvariantCulture, $"{ms:0.#} ms");

    private static string Seconds(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.#} s");
}
