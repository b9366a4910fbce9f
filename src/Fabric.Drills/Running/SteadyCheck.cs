using Fabric.Drills.Definition;
using Fabric.Protocol.Proto;

namespace Fabric.Drills.Running;

/// <summary>One condition of the steady state, as it is at one moment.</summary>
public sealed record SteadyCondition(string Name, bool Holds, string Seen);

/// <summary>Whether the steady state holds, by what the gateway of the drill sees, and what the others have said of their ends.</summary>
internal static class SteadyCheck
{
    public static IReadOnlyList<SteadyCondition> Of(SteadyState steady, Status status, EventLog events) =>
    [
        .. steady.LinksUp.Select(link => Link(link, status, events)),
        .. steady.Services.Select(service => Service(service, status)),
    ];

    private static SteadyCondition Link(string link, Status status, EventLog events)
    {
        LinkStatus[] here = [.. status.Links.Where(l => l.Name == link)];
        // One answer that is late is no verdict: what is suspect carries what it carried.
        string[] down = [.. here.Where(l => l is not { State: "up" or "suspect", Lane: "up" or "" }).Select(l => $"{link} to {l.Peer} is {l.State}: {(l.Reason.Length > 0 ? l.Reason : $"lane {l.Lane}")}")
            .Concat(events.Down(link).Select(d => $"{d} is down"))];
        return new SteadyCondition($"link {link} is up", down.Length == 0, down.Length > 0 ? string.Join("; ", down)
            : here.Length > 0 ? "up" : $"not an end of {status.Gateway}; no other gateway says that it is down");
    }

    private static SteadyCondition Service(string name, Status status)
    {
        var service = status.Services.FirstOrDefault(s => s.Name == name);
        return new SteadyCondition($"service {name} is served", service is { ChosenSite.Length: > 0 },
            service is null ? $"{status.Gateway} knows no such service" : service.ChosenSite.Length > 0 ? $"by {service.ChosenSite}" : service.ChosenReason);
    }
}
