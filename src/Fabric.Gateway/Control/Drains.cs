using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Control;

/// <summary>
/// Planned maintenance. A drained gateway takes no new streams: peers see it in GOAWAY and in the catalog, and its service addresses
/// close, since it cannot know whether a local application would be served elsewhere while it stops. A drained link is used only when
/// nothing else is left, by both ends. Both last until they are undone or the process ends.
/// </summary>
internal sealed class Drains(string gateway, StateLoop loop, ITunnel tunnel, TimeProvider time, ILogger log)
{
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(20);

    public Task<DrainReply> DrainAsync(DrainRequest request, TimeSpan limit, CancellationToken cancellationToken) =>
        request.Link.Length > 0 ? LinkAsync(request, limit, cancellationToken) : GatewayAsync(request, limit, cancellationToken);

    private async Task<DrainReply> GatewayAsync(DrainRequest request, TimeSpan limit, CancellationToken cancellationToken)
    {
        if (request.Gateway.Length > 0 && request.Gateway != gateway)
        {
            throw new GrpcException(GrpcStatus.NotFound, $"this is gateway {gateway}: {request.Gateway} is drained on its own host");
        }

        if (loop.Draining == request.Undo)
        {
            Log.Drain(log, request.Undo ? "Undraining" : "Draining", $"gateway {gateway}");
        }

        loop.Draining = !request.Undo;
        if (request.Undo)
        {
            tunnel.Undrain();
            return new DrainReply();
        }

        var left = await tunnel.DrainAsync(limit, cancellationToken);
        var reply = new DrainReply { Remaining = (uint)left };
        reply.Streams.Add(tunnel.Streams.Select(Left));
        if (left > 0 && request.Force)
        {
            reply.Cut = (uint)tunnel.CutStreams($"gateway {gateway} is drained");
            Log.Cut(log, (int)reply.Cut, gateway);
        }

        return reply;
    }

    private async Task<DrainReply> LinkAsync(DrainRequest request, TimeSpan limit, CancellationToken cancellationToken)
    {
        var peers = (loop.Current?.Links ?? []).Where(l => l.Link == request.Link && (request.Peer.Length == 0 || l.Peer == request.Peer))
            .Select(l => l.Peer).ToHashSet(StringComparer.Ordinal);
        if (peers.Count == 0)
        {
            throw new GrpcException(
                GrpcStatus.NotFound, $"this gateway has no link '{request.Link}'{(request.Peer.Length > 0 ? $" to {request.Peer}" : "")}");
        }

        foreach (var peer in peers)
        {
            if (loop.Current!.DrainedLinks.Contains((peer, request.Link)) == request.Undo)
            {
                Log.Drain(log, request.Undo ? "Undraining" : "Draining", $"link {request.Link} to {peer}");
            }

            loop.DrainLink(peer, request.Link, !request.Undo);
        }

        if (request.Undo)
        {
            return new DrainReply();
        }

        var began = time.GetTimestamp();
        HashSet<string> busy;
        while ((busy = Busy(peers, request.Link)).Count > 0 && time.GetElapsedTime(began) < limit)
        {
            await Task.Delay(_look, time, cancellationToken);
        }

        var reply = new DrainReply();
        reply.Streams.Add(tunnel.Streams.Where(s => s.Peer is not null && busy.Contains(s.Peer)).Select(Left));
        reply.Remaining = (uint)reply.Streams.Sum(s => s.Streams);
        reply.Reason = string.Join("; ", busy.Order(StringComparer.Ordinal).Select(p => $"{p}: {loop.Current!.Paths.GetValueOrDefault(p)?.Reason}"));
        return reply;
    }

    /// <summary>Peers with which streams use the link, either way: the other end says when it sends nothing there any more.</summary>
    private HashSet<string> Busy(HashSet<string> peers, string link) =>
    [
        .. tunnel.Status.Sessions.Where(s => peers.Contains(s.Peer) && s.Streams > 0
            && s.Lanes.Any(l => l.Link == link && l.State == LaneState.Up && (s.ActiveLink == link || !l.PeerIsQuiet))).Select(s => s.Peer),
    ];

    private static StreamsLeft Left(StreamGroup group) => new()
    {
        Service = group.Service,
        Peer = group.Peer ?? "",
        Direction = group.Peer is null ? "local" : group.IsOurs ? "out" : "in",
        Link = group.Link ?? "",
        Streams = (uint)group.Count,
    };
}
