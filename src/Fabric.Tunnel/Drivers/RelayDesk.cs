using System.Collections.Concurrent;
using System.Collections.Immutable;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// Lanes as streams: carries those between two other gateways, and takes in those that a relay hands over. What is carried is TLS
/// between the two ends: here it is ciphertext, moved by reference. Streams of relays travel over direct lanes only, which the
/// core sees to, so that a lane has one relay at most and a loop cannot be built.
/// </summary>
internal sealed class RelayDesk(GatewayTunnel tunnel, GatewayPort port)
{
    private const int SegmentsAtOnce = 16;

    /// <summary>By the peer that asked: as many as there are sessions.</summary>
    private readonly ConcurrentDictionary<string, Carried> _carried = new(StringComparer.Ordinal);
    private int _lanes;

    public ImmutableArray<RelayedStatus> Status =>
    [
        .. _carried.OrderBy(c => c.Key, StringComparer.Ordinal)
            .Select(c => new RelayedStatus(c.Key, Volatile.Read(ref c.Value.Lanes), Interlocked.Read(ref c.Value.Bytes))),
    ];

    /// <summary>At the target: the stream is a connection like one to the gateway port.</summary>
    public async Task AcceptAsync(TunnelStream stream)
    {
        var origin = RelayNames.OriginOf(stream.Request)!;
        if (!tunnel.IsPlanned(origin, RelayNames.Link(stream.Peer)))
        {
            stream.Reset(StreamCode.PolicyDenied, $"no lane from {origin} through {stream.Peer} is planned here");
            return;
        }

        await port.ServeRelayedAsync(stream, origin).ConfigureAwait(false);
    }

    /// <summary>At the relay: opens the other half, and joins the two until both ended.</summary>
    public async Task CarryAsync(TunnelStream asked, string target)
    {
        var carried = _carried.GetOrAdd(asked.Peer, _ => new Carried());
        try
        {
            Interlocked.Increment(ref carried.Lanes);
            if (Interlocked.Increment(ref _lanes) > tunnel.Options.Limits.MaxRelayed)
            {
                asked.Reset(StreamCode.LimitReached, $"{tunnel.Options.Limits.MaxRelayed} lanes are relayed already: no more are allowed");
                return;
            }

            if (await OpenAsync(asked, target).ConfigureAwait(false) is not { } onward)
            {
                return;
            }

            await using (onward.ConfigureAwait(false))
            {
                asked.Accept();
                await Task.WhenAll(
                    CopyAsync(asked, onward, carried), CopyAsync(onward, asked, carried), PassResetAsync(asked, onward), PassResetAsync(onward, asked))
                    .ConfigureAwait(false);
            }
        }
        finally
        {
            Interlocked.Decrement(ref carried.Lanes);
            Interlocked.Decrement(ref _lanes);
        }
    }

    private async Task<TunnelStream?> OpenAsync(TunnelStream asked, string target)
    {
        using var given = CancellationTokenSource.CreateLinkedTokenSource(tunnel.Stopping);
        try
        {
            var opening = tunnel.OpenAsync(target, new StreamOpen(RelayNames.Hand(asked.Peer), 0, asked.Request.Caller), waits: false, given.Token);
            if (await Task.WhenAny(opening, asked.Ended).ConfigureAwait(false) != opening)
            {
                await given.CancelAsync().ConfigureAwait(false);
            }

            return await opening.ConfigureAwait(false);
        }
        catch (StreamRefusedException error)
        {
            asked.Reset(error.Code, $"{target} cannot be reached from the relay: {error.Reason}");
            return null;
        }
        catch (OperationCanceledException)
        {
            asked.Reset(StreamCode.Draining, "the relay is stopping");
            return null;
        }
    }

    private static async Task CopyAsync(TunnelStream from, TunnelStream to, Carried carried)
    {
        var segments = new Segment[SegmentsAtOnce];
        while (await from.WaitReadableAsync().ConfigureAwait(false))
        {
            var count = from.PeekReady(segments);
            try
            {
                for (var i = 0; i < count; i++)
                {
                    if (!await WriteAsync(to, segments[i]).ConfigureAwait(false))
                    {
                        return;
                    }

                    Interlocked.Add(ref carried.Bytes, segments[i].Length);
                    from.Taken(segments[i].Length);
                }
            }
            finally
            {
                for (var i = 0; i < count; i++)
                {
                    segments[i].Release();
                }
            }
        }

        if (!from.IsReset)
        {
            to.CompleteWrites();
        }
    }

    private static async ValueTask<bool> WriteAsync(TunnelStream to, Segment segment)
    {
        for (var written = 0; written < segment.Length;)
        {
            var room = await to.WaitRoomAsync().ConfigureAwait(false);
            var take = Math.Min(Math.Min(room, segment.Length - written), FrameHeader.MaxData);
            if (take == 0 || !to.TryWrite(segment.Slice(written, take)))
            {
                return false;
            }

            written += take;
        }

        return true;
    }

    /// <summary>The death of one leg is the death of the lane, at once: its ends go on elsewhere.</summary>
    private static async Task PassResetAsync(TunnelStream from, TunnelStream to)
    {
        await from.Ended.ConfigureAwait(false);
        if (from.IsReset)
        {
            to.Reset(from.Code, from.Reason);
        }
    }

    private sealed class Carried
    {
        public int Lanes;
        public long Bytes;
    }
}
