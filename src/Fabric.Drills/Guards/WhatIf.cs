using Fabric.Drills.Definition;

namespace Fabric.Drills.Guards;

/// <summary>Who answers a service of the own site, and over which way: now, and at a moment of the drill.</summary>
/// <param name="Now">"virginia over dx", or "nobody".</param>
/// <param name="During">The same, at the moment when most differs.</param>
/// <param name="Why">What makes the difference, or that there is none.</param>
public sealed record ServiceForecast(string Service, string Now, string During, string Why);

/// <summary>
/// What a drill would do, by the rule by which gateways choose: the own site while it is healthy, then the best score of a way that is left, then the
/// order of declaration. Seen from the gateway that the drill is run through, by the scores that it measured.
/// </summary>
public static class WhatIf
{
    public static IReadOnlyList<ServiceForecast> Of(DrillDefinition drill, FabricView view)
    {
        Target[] targets = [.. drill.Actions.SelectMany(a => Targets.Of(a, view.Topology).Found)];
        var forecasts = new List<ServiceForecast>();
        foreach (var service in view.Topology.Services)
        {
            var now = Answer(view, Damage.Of([]), service);
            var (at, during) = Damage.Moments(targets).Select(m => (m.At, Answer: Answer(view, m.Damage, service)))
                .OrderByDescending(m => m.Answer == "nobody").ThenByDescending(m => m.Answer != now).FirstOrDefault((TimeSpan.Zero, now));
            var seen = view.Status.Services.FirstOrDefault(s => s.Name == service.FullName);
            var differs = seen is not null && seen.ChosenSite.Length > 0 && !now.StartsWith(seen.ChosenSite, StringComparison.Ordinal)
                ? $"the gateway says now {seen.ChosenSite}: {seen.ChosenReason}" : "";
            forecasts.Add(new ServiceForecast(service.FullName, now, during,
                differs.Length > 0 ? differs
                : during == now ? "stays" : during == "nobody" ? $"cut off from {Words.Span(at)} on" : $"moves at {Words.Span(at)}"));
        }

        return forecasts;
    }

    private static string Answer(FabricView view, Damage damage, Topology.Model.Service service)
    {
        var own = view.Topology.Sites.First(s => s.Name == view.Status.Site);
        if (damage.HidesName(own, service))
        {
            return "nobody";
        }

        var best = (Score: double.PositiveInfinity, Text: "nobody");
        foreach (var site in service.Exports.Select(e => view.Topology.Sites.First(s => s.Name == e.Site)).Where(s => ServicePaths.Serves(view, damage, s, service)))
        {
            if (site.Name == own.Name)
            {
                return $"{site.Name}, its own endpoints";
            }

            foreach (var gateway in site.Gateways)
            {
                var direct = ServicePaths.Between(view, damage, view.Status.Gateway, gateway.Name).ToArray();
                foreach (var link in direct)
                {
                    Consider(Score(view, link.Name, gateway.Name) ?? 1e6 + link.Cost, $"{site.Name} over {link.Name}");
                }

                // A lane through others is used where no own one is left.
                foreach (var relay in direct.Length > 0 ? [] : ServicePaths.Relays(view, damage, view.Status.Gateway, gateway.Name))
                {
                    Consider(view.Status.Relays.FirstOrDefault(r => r.Relay == relay && r.Peer == gateway.Name) is { Score: > 0 } r ? r.Score : 1e7,
                        $"{site.Name} by relay {relay}");
                }
            }
        }

        return best.Text;

        void Consider(double score, string text) => best = score < best.Score ? (score, text) : best;
    }

    private static double? Score(FabricView view, string link, string peer) =>
        view.Status.Links.FirstOrDefault(l => l.Name == link && l.Peer == peer) is { Score: > 0 } status ? status.Score : null;
}
