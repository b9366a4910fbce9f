using System.Collections.Immutable;
using System.Net;
using System.Security.Cryptography;
using Fabric.Protocol.Probes;
using Fabric.Routing.Health;

namespace Fabric.Gateway.Probing;

/// <summary>
/// All of probing but its sockets, its thread and its clock: bytes and instants in, bytes and verdicts out.
/// Not safe for concurrent use; <see cref="Prober"/> holds a lock around it.
/// </summary>
/// <remarks>
/// In the order of a packet: <see cref="Run"/> sends what is due → the peer's <see cref="Received"/> answers → our
/// <see cref="Received"/> gives the answer to the link's verdict, and <see cref="Run"/> tells it when one is overdue.
/// Bounds: one entry for each target in every table and in the queue, and 256 awaited probes for each.
/// </remarks>
internal sealed class ProbeEngine(ProberOptions options, IProbeWire wire, DateTimeOffset startedAt)
{
    private sealed class Link(ProbeTarget plan, ulong id, LinkHealth health)
    {
        public ProbeTarget Plan = plan;
        public readonly ulong Id = id;
        public readonly LinkHealth Health = health;
        public bool Active;
        public int Socket = -1;
        public SocketAddress? To;
        public IPEndPoint? Remote;
        public TimeSpan NextSend;
        public TimeSpan? Queued;
        public ulong NewestFromPeer;
        public ulong ReceivedFromPeer;
    }

    private sealed record Keys(ProbeKey? ToPeer, ProbeKey? FromPeer);

    private readonly Dictionary<ulong, Link> _links = [];
    private readonly Dictionary<string, Keys> _keys = new(StringComparer.Ordinal);
    private readonly PriorityQueue<Link, TimeSpan> _queue = new();
    private readonly List<Link> _changed = [];
    private readonly byte[] _buffer = new byte[ProbeCodec.MaxLength];
    private readonly Random _random = new(options.Seed ?? RandomNumberGenerator.GetInt32(int.MaxValue));

    public ProberCounters Counters { get; private set; }

    /// <summary>When <see cref="Run"/> is wanted next; null: not before something changes.</summary>
    public TimeSpan? NextDue => _queue.TryPeek(out _, out var due) ? due : null;

    // ---- what is asked of it

    /// <summary>Makes the probed links equal to the targets. What stays keeps its verdict, unless its MTU changed.</summary>
    public void Reconcile(ImmutableArray<ProbeTarget> targets, TimeSpan now)
    {
        var wanted = new Dictionary<ulong, ProbeTarget>();
        foreach (var target in targets)
        {
            wanted[ProbeCodec.LinkId(target.Link, options.Gateway, target.Peer)] = target;
        }

        foreach (var link in _links.Values.ToArray())
        {
            if (!wanted.TryGetValue(link.Id, out var target) || target.Mtu != link.Plan.Mtu)
            {
                _queue.Remove(link, out _, out _);
                _changed.Remove(link);
                _links.Remove(link.Id);
            }
        }

        foreach (var (id, target) in wanted)
        {
            if (!_links.TryGetValue(id, out var link))
            {
                _links[id] = link = new Link(target, id, NewHealth(target, now));
                Aim(link, target.Remote);
            }
            else if (!Equals(link.Plan.Remote, target.Remote) || !Equals(link.Plan.Local, target.Local))
            {
                Aim(link, target.Remote);
            }

            link.Plan = target;
            Hurry(link, now);
        }

        foreach (var peer in _keys.Keys.Except(targets.Select(t => t.Peer)).ToArray())
        {
            _keys.Remove(peer);
        }
    }

    /// <summary>Whether a link carries streams: then it is probed at the active interval.</summary>
    public void SetActive(string peer, string name, bool active, TimeSpan now)
    {
        if (Find(peer, name) is { } link && link.Active != active)
        {
            link.Active = active;
            if (active)
            {
                Hurry(link, now);
            }
        }
    }

    /// <summary>The keys that were exchanged with a peer, 32 bytes each; empty: not known. A peer of no target is ignored.</summary>
    public void SetKeys(string peer, ReadOnlySpan<byte> toPeer, ReadOnlySpan<byte> fromPeer, TimeSpan now)
    {
        var links = _links.Values.Where(l => l.Plan.Peer == peer).ToArray();
        if (links.Length == 0)
        {
            return;
        }

        var before = _keys.GetValueOrDefault(peer);
        var keys = new Keys(Same(before?.ToPeer, toPeer), Same(before?.FromPeer, fromPeer));
        _keys[peer] = keys;
        foreach (var link in links)
        {
            if (keys.FromPeer != before?.FromPeer)
            {
                (link.NewestFromPeer, link.ReceivedFromPeer) = (0, 0);
            }

            if (keys.ToPeer != before?.ToPeer)
            {
                Hurry(link, now);
            }
        }
    }

    /// <summary>A lane over the link was reset or closed.</summary>
    public void LaneClosed(string peer, string name, string reason, TimeSpan now)
    {
        if (Find(peer, name) is { } link)
        {
            Note(link, link.Health.LaneClosed(reason, now), now);
            Hurry(link, now);
        }
    }

    public ImmutableArray<LinkHealthSnapshot> Snapshot(TimeSpan now) => [.. _links.Values
        .OrderBy(l => l.Plan.Peer, StringComparer.Ordinal).ThenBy(l => l.Plan.Link, StringComparer.Ordinal)
        .Select(l => SnapshotOf(l, now))];

    /// <summary>Links whose state changed since the last call.</summary>
    public ImmutableArray<LinkHealthSnapshot> TakeChanges(TimeSpan now)
    {
        if (_changed.Count == 0)
        {
            return [];
        }

        ImmutableArray<LinkHealthSnapshot> changes = [.. _changed.Distinct().Select(l => SnapshotOf(l, now))];
        _changed.Clear();
        return changes;
    }

    // ---- 1. a probe leaves

    /// <summary>Sends what is due and judges what is overdue.</summary>
    public void Run(TimeSpan now)
    {
        while (_queue.TryPeek(out var link, out var due) && due <= now)
        {
            _queue.Dequeue();
            link.Queued = null;
            AskWitness(link, now);

            Note(link, link.Health.Tick(now, now - due), now);
            if (link.Health.TryTakeWindow(now, out var window))
            {
                options.Measured?.Invoke(link.Plan, window);
            }

            if (CanSend(link) && link.NextSend <= now)
            {
                SendProbe(link, now);
            }

            Schedule(link);
        }
    }

    private void AskWitness(Link link, TimeSpan now)
    {
        foreach (var bulk in (ReadOnlySpan<bool>)[false, true])
        {
            if (link.Health.WantsWitness && options.Carried?.Invoke(link.Plan.Peer, link.Plan.Link, bulk) is { } age)
            {
                var heard = options.Heard?.Invoke(link.Plan.Peer, link.Plan.Link) is { } ago ? now - ago : TimeSpan.MinValue;
                Note(link, link.Health.Carried(now - age, heard, bulk, now), now);
            }
        }
    }

    private void SendProbe(Link link, TimeSpan now)
    {
        var fullSize = link.Health.WantsFullSize(now);
        var sequence = link.Health.ProbeSent(fullSize, now);
        link.NextSend = now + Interval(link);
        Counters = Counters with { Sent = Counters.Sent + 1 };
        if (Fault(link) is { DropOut: true } fault)
        {
            if (fault.Refused)
            {
                Note(link, link.Health.Refused(sequence, tooBig: false, "the link is down, by a fault", now), now);
            }

            return;
        }

        var packet = _buffer.AsSpan(0, fullSize ? FullSize(link) : ProbeCodec.MinLength);
        ProbeCodec.Write(
            packet, new ProbePacket(ProbeKind.Request, fullSize, link.Id, sequence, now.Ticks, 0), _keys[link.Plan.Peer].ToPeer!);
        var sent = wire.Send(link.Socket, link.To!, packet, out var error);
        if (sent != ProbeSend.Sent)
        {
            Counters = Counters with { Unsent = Counters.Unsent + 1 };
            Note(link, link.Health.Refused(sequence, sent == ProbeSend.TooBig, error ?? "", now), now);
        }
    }

    // ---- 2. a packet arrives

    /// <summary>Takes one datagram. Whatever is wrong with it is counted, and nothing else happens.</summary>
    public void Received(ReadOnlySpan<byte> packet, int socket, SocketAddress from, TimeSpan now)
    {
        if (!ProbeCodec.TryReadUnverified(packet, out var probe))
        {
            Counters = Counters with { Malformed = Counters.Malformed + 1 };
            return;
        }

        var keys = _links.TryGetValue(probe.LinkId, out var link) ? _keys.GetValueOrDefault(link.Plan.Peer) : null;
        var key = probe.Kind == ProbeKind.Request ? keys?.FromPeer : keys?.ToPeer;
        if (link is null || key is null)
        {
            Counters = Counters with { Unknown = Counters.Unknown + 1 };
        }
        else if (!ProbeCodec.Verify(packet, key))
        {
            Counters = Counters with { Forged = Counters.Forged + 1 };
        }
        else if (!Fault(link).DropIn)
        {
            if (probe.Kind == ProbeKind.Request)
            {
                Answer(link, probe, packet.Length, socket, from, key, now);
            }
            else
            {
                Accept(link, probe, packet.Length, now);
            }
        }
    }

    /// <summary>The answer has the length of the request: it tests the same size on the way back, and never amplifies.</summary>
    private void Answer(Link link, in ProbePacket request, int length, int socket, SocketAddress from, ProbeKey key, TimeSpan now)
    {
        // Strictly newer: a replayed request earns no answer, and cannot move the learned address.
        if (request.Sequence <= link.NewestFromPeer)
        {
            Counters = Counters with { Replayed = Counters.Replayed + 1 };
            return;
        }

        link.NewestFromPeer = request.Sequence;
        link.ReceivedFromPeer++;
        link.Health.PeerProbed(now);
        if (link.Plan.Remote is null && (link.Socket != socket || !from.Equals(link.To)))
        {
            Learn(link, socket, from, now);
        }

        if (Fault(link).DropOut)
        {
            return;
        }

        var reply = _buffer.AsSpan(0, length);
        ProbeCodec.Write(reply, request with { Kind = ProbeKind.Reply, Received = link.ReceivedFromPeer }, key);
        var sent = wire.Send(socket, from, reply, out _) == ProbeSend.Sent;
        Counters = sent ? Counters with { Replied = Counters.Replied + 1 } : Counters with { Unsent = Counters.Unsent + 1 };
    }

    private void Accept(Link link, in ProbePacket reply, int length, TimeSpan now)
    {
        // How late this thread reads: what is due next should have run by then.
        var late = NextDue is { } due && due < now ? now - due : TimeSpan.Zero;
        var cut = reply.FullSize && length < FullSize(link);
        var accepted = false;
        var changed = !cut && link.Health.Answered(reply.Sequence, reply.Received, now, late, out accepted);
        Counters = accepted
            ? Counters with { Answered = Counters.Answered + 1 }
            : Counters with { Replayed = Counters.Replayed + 1 };
        if (accepted && late <= options.Health.LateTolerance && now.Ticks >= reply.Timestamp)
        {
            options.Answered?.Invoke(link.Plan.Peer, link.Plan.Link, TimeSpan.FromTicks(now.Ticks - reply.Timestamp));
        }

        Note(link, changed, now);
    }

    // ---- the rest

    private LinkHealth NewHealth(ProbeTarget target, TimeSpan now) => new(
        options.Health with
        {
            Misses = options.Settings.Misses,
            HoldDown = options.Settings.HoldDown,
            Mtu = target.Mtu,
        },
        now,
        // Microseconds of the wall clock: a link that is probed anew, by this process or the next, never repeats a number.
        firstSequence: (ulong)Math.Max(1, ((startedAt + now).UtcTicks - DateTimeOffset.UnixEpoch.UtcTicks) / TimeSpan.TicksPerMicrosecond));

    private Link? Find(string peer, string name) =>
        _links.GetValueOrDefault(ProbeCodec.LinkId(name, options.Gateway, peer));

    private static ProbeKey? Same(ProbeKey? before, ReadOnlySpan<byte> key) =>
        key.IsEmpty ? null : before?.IsFrom(key) == true ? before : new ProbeKey(key);

    private void Aim(Link link, IPEndPoint? remote)
    {
        (link.Remote, link.To, link.Socket) = (remote, null, -1);
        if (remote is not null)
        {
            link.Socket = wire.Route(link.Plan.Local, remote, out var address);
            link.To = link.Socket < 0 ? null : address;
        }
    }

    private void Learn(Link link, int socket, SocketAddress from, TimeSpan now)
    {
        var to = new SocketAddress(from.Family, from.Size);
        from.Buffer.Span[..from.Size].CopyTo(to.Buffer.Span);
        var family = new IPEndPoint(from.Family == System.Net.Sockets.AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0);
        var remote = (IPEndPoint)family.Create(to);
        link.Remote = remote.Address.IsIPv4MappedToIPv6 ? new IPEndPoint(remote.Address.MapToIPv4(), remote.Port) : remote;
        (link.To, link.Socket) = (to, socket);
        Hurry(link, now);
    }

    private bool CanSend(Link link) => link.To is not null && _keys.GetValueOrDefault(link.Plan.Peer)?.ToPeer is not null;

    private int FullSize(Link link) => ProbeCodec.FullSizeLength(
        link.Plan.Mtu, link.Remote?.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6);

    private ProbeFault Fault(Link link) => options.Fault?.Invoke(link.Plan.Peer, link.Plan.Link) ?? default;

    /// <summary>Shortened by up to 10 %, so that probes of many links do not march in step.</summary>
    private TimeSpan Interval(Link link) =>
        (link.Active || link.Health.Urgent ? Quick(link) : options.Settings.Idle) * (1 - 0.1 * _random.NextDouble());

    /// <summary>The active interval; half of it while there is suspicion, so that the verdict does not wait for probes to leave.</summary>
    private TimeSpan Quick(Link link) => link.Health.State == LinkState.Suspect ? options.Settings.Active / 2 : options.Settings.Active;

    private void Note(Link link, bool changed, TimeSpan now)
    {
        if (changed)
        {
            _changed.Add(link);
        }

        // A verdict is tested at once, and an open one at intervals: probes that go out together are lost together.
        var next = changed && link.Health.State != LinkState.Suspect ? now : now + Quick(link);
        if ((changed || link.Health.Urgent) && link.NextSend > next)
        {
            link.NextSend = next;
            Schedule(link);
        }
    }

    private void Hurry(Link link, TimeSpan now)
    {
        link.NextSend = now;
        Schedule(link);
    }

    /// <summary>Queues the link for its next instant, unless it is queued for one at least as early.</summary>
    private void Schedule(Link link)
    {
        var due = link.Health.NextDue;
        if (CanSend(link) && (due is null || link.NextSend < due))
        {
            due = link.NextSend;
        }

        if (due is { } at && (link.Queued is null || at < link.Queued))
        {
            _queue.Remove(link, out _, out _);
            _queue.Enqueue(link, at);
            link.Queued = at;
        }
    }

    private LinkHealthSnapshot SnapshotOf(Link link, TimeSpan now)
    {
        var report = link.Health.Report(now);
        if (report.State == LinkState.Unknown && !CanSend(link))
        {
            report = report with
            {
                Reason = link.To is null && link.Remote is not null ? $"no socket to reach {link.Remote} from"
                    : link.To is null ? "the peer's address is not known until it probes this gateway"
                    : "not probed until a lane has exchanged keys",
            };
        }

        return new LinkHealthSnapshot(
            link.Plan.Peer, link.Plan.Link, report, startedAt + report.Since, report.MtuPasses ? link.Plan.Mtu : 0, link.Active, link.Remote);
    }
}
