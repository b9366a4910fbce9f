using System.Diagnostics;
using System.Net;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel;

/// <summary>
/// What the tunnel adds to the spans of streams. They are made and ended by who decides on the streams; where a stream is not traced there is none, and
/// nothing is done here.
/// </summary>
internal static class StreamSpans
{
    /// <summary>The OPEN left on that lane.</summary>
    public static void Opened(StreamOpen open, LaneCore lane)
    {
        if (open.Span is { } span)
        {
            span.SetTag("fabric.link", lane.Link).SetTag("fabric.lane", (long)lane.Epoch);
            if (lane.Trace != default)
            {
                span.AddLink(new ActivityLink(lane.Trace));
            }
        }
    }

    /// <summary>An attempt failed, and nothing was lost by it.</summary>
    public static void Refused(IngressRoute route, StreamCode code, string reason) => route.Open.Span?.AddEvent(new ActivityEvent("attempt.failed", tags: new()
    {
        { "fabric.peer", route.Peer ?? "self" }, { "fabric.code", code.ToString() }, { "fabric.reason", reason },
    }));

    /// <summary>The lane that carried it is over, and another one carries it. So do requests in it hear that are traced by themselves.</summary>
    public static void Moved(StreamOpen open, LaneCore from, LaneCore to, TimeSpan pause)
    {
        var (span, requests) = (open.Served ?? open.Span, open.Decision as IRequestSpans);
        if (span is null && requests?.Any != true)
        {
            return;
        }

        var moved = new ActivityEvent("failover", tags: new()
        {
            { "fabric.from", from.Link }, { "fabric.to", to.Link }, { "fabric.cause", from.LeaveReason },
            { "fabric.pause_ms", Math.Round(pause.TotalMilliseconds, 1) },
        });
        span?.AddEvent(moved);
        requests?.Add(moved);
    }

    /// <summary>An endpoint took the connection.</summary>
    public static void Connected(StreamOpen open, IPEndPoint endpoint)
    {
        if (open.Served is { } span)
        {
            span.SetTag("server.address", endpoint.Address.ToString()).SetTag("server.port", endpoint.Port).AddEvent(new ActivityEvent("endpoint.connected"));
        }
    }

    public static void NotConnected(StreamOpen open, IPEndPoint endpoint, string reason) => open.Served?.AddEvent(new ActivityEvent("endpoint.failed", tags: new()
    {
        { "server.address", endpoint.Address.ToString() }, { "server.port", endpoint.Port }, { "fabric.reason", reason },
    }));
}

/// <summary>What is under way in a stream, and has spans of its own: a decision of the exporting side may be that (<see cref="StreamOpen.Decision"/>). Any thread.</summary>
public interface IRequestSpans
{
    /// <summary>Whether there are some now.</summary>
    bool Any { get; }

    /// <summary>It befell the stream, and so each of them.</summary>
    void Add(ActivityEvent befallen);
}
