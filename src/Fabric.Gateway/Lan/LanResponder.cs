using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Lan;

/// <summary>
/// Tells of this gateway on one network, and answers who asks for it (RFC 6762): the names are probed (§8.1), then announced (§8.3), then
/// answered; another who has them makes the gateway take the next one (§9). No I/O and no clock: instants are times since some start, and what
/// is to be sent is given to <c>send</c>. Not for several threads at once.
/// </summary>
/// <remarks>Its tables hold its own few records, whoever asks how often.</remarks>
internal sealed class LanResponder(
    LanIdentity identity, Func<IEnumerable<IPAddress>> addresses, Random random, Action<DnsMessage, IPEndPoint> send)
{
    private const int Probes = 3;
    private const int Announcements = 2;

    /// <summary>Addresses of the interface that are told.</summary>
    private const int MaxAddresses = 8;

    /// <summary>Conflicts within <see cref="_conflictSpan"/> from which on probing waits (§8.1).</summary>
    private const int ManyConflicts = 15;

    private static readonly TimeSpan _probeGap = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan _conflictSpan = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan _conflictPause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan _second = TimeSpan.FromSeconds(1);

    private readonly Queue<TimeSpan> _conflicts = new();
    private readonly Dictionary<int, TimeSpan> _sent = [];
    private readonly Dictionary<int, (TimeSpan Due, IPAddress? Asker)> _pending = [];
    private ImmutableArray<DnsRecord> _records = [];
    private TimeSpan? _step;
    private int _probes;
    private int _announcements;
    private int _number = 1;

    /// <summary>The instance's name; another than the gateway's when somebody has that.</summary>
    public string Name => _number == 1 ? identity.Gateway : Numbered(identity.Gateway, DnsLimits.Label);

    /// <summary>Whether its names are its own: nobody objected to the probes.</summary>
    public bool IsEstablished { get; private set; }

    /// <summary>When <see cref="Turn"/> has something to do; null: not before something is heard.</summary>
    public TimeSpan? Due
    {
        get
        {
            var due = _step;
            foreach (var (_, pending) in _pending)
            {
                due = due is null || pending.Due < due ? pending.Due : due;
            }

            return due;
        }
    }

    private DnsName Host => Mdns.Local.Prepend(_number == 1 ? Cut("fabric-" + identity.Gateway, DnsLimits.Label) : Numbered("fabric-" + identity.Gateway, DnsLimits.Label));

    private DnsName Instance => Mdns.Fabric.Prepend(Name);

    /// <summary>Begins to probe; also anew, when addresses have changed.</summary>
    public void Start(TimeSpan now) => Probe(now + _probeGap * random.NextDouble());

    public void Turn(TimeSpan now)
    {
        if (_step <= now)
        {
            Step(now);
        }

        var due = _pending.Where(p => p.Value.Due <= now).Select(p => p.Key).Order().ToList();
        due.ForEach(i => _pending.Remove(i));
        Multicast(due, now);
    }

    /// <summary>A query that came from a host of this network.</summary>
    public void Hear(DnsMessage query, IPEndPoint from, TimeSpan now)
    {
        if (!IsEstablished)
        {
            HearProbe(query, now);
            return;
        }

        var legacy = from.Port != Mdns.Group.Port;
        if (legacy && query.Questions.Length != 1)
        {
            // It is repeated to him, who may be forged.
            return;
        }

        var truncated = (query.Flags & DnsFlags.Truncated) != 0;
        var alone = new SortedSet<int>();
        foreach (var question in query.Questions)
        {
            for (var i = 0; i < _records.Length; i++)
            {
                var record = _records[i];
                if (!Asks(question, record) || query.Answers.Any(known => Knows(known, record)))
                {
                    continue;
                }

                // Who wants it alone gets it alone, unless all have not heard it for long (§5.4).
                var lately = _sent.TryGetValue(i, out var sent) && now - sent < TimeSpan.FromSeconds(record.Ttl / 4);
                if (legacy || Mdns.HasTopBit(question.Class) && lately)
                {
                    alone.Add(i);
                }
                else
                {
                    // Records that others may have as well are answered in no hurry, so that not all speak at once; and where more known answers will follow,
                    // these are waited for (§6, §7.2).
                    var wait = truncated ? Between(400, 500) : Mdns.HasTopBit(record.Class) ? TimeSpan.Zero : Between(20, 120);
                    Postpone(i, now + wait, from.Address, probed: !query.Authorities.IsEmpty, now);
                }
            }
        }

        if (query.Questions.IsEmpty)
        {
            Forget(query, from.Address);
        }

        if (alone.Count > 0)
        {
            SendAlone(query, from, alone, legacy);
        }

        Turn(now);
    }

    /// <summary>A response that came from a host of this network: our own as well.</summary>
    public void HearResponse(DnsMessage response, TimeSpan now)
    {
        foreach (var record in response.Answers.Concat(response.Additionals))
        {
            var i = _records.IndexOf(record, 0, _records.Length, SameComparer.Instance);
            if (i >= 0)
            {
                // Somebody said it already (§7.4).
                if (record.Ttl >= _records[i].Ttl)
                {
                    _pending.Remove(i);
                }
            }
            else if (record.Ttl > 0 && Contradicts(record))
            {
                Conflict(now);
                return;
            }
        }
    }

    /// <summary>Takes back what was announced (§10.1).</summary>
    public void Goodbye()
    {
        if (IsEstablished)
        {
            // Not the type: others may have services of it.
            Send([.. _records.Where(r => !r.Name.Equals(Mdns.Types) && r.Type != Mdns.Nsec).Select(r => r with { Ttl = 0 })], []);
            IsEstablished = false;
        }
    }

    private static string Cut(string text, int length) => text.Length <= length ? text : text[..length];

    private string Numbered(string text, int length) => $"{Cut(text, length - 1 - _number.ToString(System.Globalization.CultureInfo.InvariantCulture).Length)}-{_number}";

    private static bool Asks(DnsQuestion question, DnsRecord record) =>
        (question.Type == record.Type || question.Type == DnsType.Any) && Mdns.Plain(question.Class) is DnsClass.Internet or DnsClass.Any
        && record.Name.Equals(question.Name) && (record.Type != Mdns.Nsec || question.Type == Mdns.Nsec);

    /// <summary>Whether the asker has it, for at least half of its time (§7.1).</summary>
    private static bool Knows(DnsRecord known, DnsRecord record) => known.Ttl >= record.Ttl / 2 && Mdns.Same(known, record);

    private TimeSpan Between(int least, int most) => TimeSpan.FromMilliseconds(random.Next(least, most + 1));

    /// <summary>A name of ours alone, with something in it that we did not say.</summary>
    private bool Contradicts(DnsRecord record) => (record.Name.Equals(Instance) || record.Name.Equals(Host))
        && (!IsEstablished || _records.Any(r => r.Type == record.Type && r.Name.Equals(record.Name)));

    private void Probe(TimeSpan at)
    {
        IsEstablished = false;
        _pending.Clear();
        _sent.Clear();
        _records = Records();
        (_step, _probes, _announcements) = (at, 0, 0);
    }

    private void Step(TimeSpan now)
    {
        if (_probes < Probes)
        {
            _probes++;
            _step = now + _probeGap;
            send(
                new DnsMessage
                {
                    Questions = [.. new[] { Instance, Host }.Select(n => new DnsQuestion(n, DnsType.Any, Mdns.WithTopBit(DnsClass.Internet)))],
                    Authorities = [.. Unique().Select(r => r with { Class = DnsClass.Internet })],
                },
                Mdns.Group);
            return;
        }

        IsEstablished = true;
        _announcements++;
        Multicast([.. Enumerable.Range(0, _records.Length)], now);
        _step = _announcements < Announcements ? now + _second : null;
    }

    /// <summary>Another who probes for the same at this moment: whose data is less waits, and will then find the other there (§8.2).</summary>
    private void HearProbe(DnsMessage query, TimeSpan now)
    {
        foreach (var name in new[] { Instance, Host })
        {
            var theirs = query.Authorities.Where(r => r.Name.Equals(name)).ToList();
            if (theirs.Count > 0 && Compare([.. Unique().Where(r => r.Name.Equals(name))], theirs) < 0)
            {
                Probe(now + _second);
                return;
            }
        }
    }

    private static int Compare(List<DnsRecord> ours, List<DnsRecord> theirs)
    {
        static List<(int Class, int Type, byte[] Data)> Ordered(List<DnsRecord> records) =>
            [.. records.Select(r => ((int)Mdns.Plain(r.Class), (int)r.Type, Mdns.Bytes(r.Data))).OrderBy(r => r.Item1).ThenBy(r => r.Item2).ThenBy(r => r.Item3, ByteOrder.Instance)];
        var (mine, others) = (Ordered(ours), Ordered(theirs));
        for (var i = 0; i < Math.Min(mine.Count, others.Count); i++)
        {
            var order = mine[i].Class != others[i].Class ? mine[i].Class.CompareTo(others[i].Class)
                : mine[i].Type != others[i].Type ? mine[i].Type.CompareTo(others[i].Type)
                : mine[i].Data.AsSpan().SequenceCompareTo(others[i].Data);
            if (order != 0)
            {
                return order;
            }
        }

        return mine.Count.CompareTo(others.Count);
    }

    private void Conflict(TimeSpan now)
    {
        while (_conflicts.TryPeek(out var first) && now - first > _conflictSpan)
        {
            _conflicts.Dequeue();
        }

        if (_conflicts.Count < ManyConflicts)
        {
            _conflicts.Enqueue(now);
        }

        // In use, it is probed first: perhaps the other gives way (§9). Probed, it is another's.
        _number = IsEstablished ? _number : _number % 999 + 1;
        Probe(now + (_conflicts.Count >= ManyConflicts ? _conflictPause : _probeGap * random.NextDouble()));
    }

    /// <summary>A record goes to all at most once a second (§6); in defence against a probe, four times.</summary>
    private void Postpone(int record, TimeSpan due, IPAddress asker, bool probed, TimeSpan now)
    {
        if (_sent.TryGetValue(record, out var sent) && now - sent < (probed ? _probeGap : _second))
        {
            return;
        }

        // Two who ask share the answer, and what one of them knows does not count for the other.
        _pending[record] = _pending.TryGetValue(record, out var before)
            ? (before.Due < due ? before.Due : due, asker.Equals(before.Asker) ? asker : null)
            : (due, asker);
    }

    /// <summary>More known answers of a query that was too long for one message.</summary>
    private void Forget(DnsMessage query, IPAddress asker)
    {
        foreach (var i in _pending.Where(p => asker.Equals(p.Value.Asker) && query.Answers.Any(k => Knows(k, _records[p.Key]))).Select(p => p.Key).ToList())
        {
            _pending.Remove(i);
        }
    }

    private void Multicast(IReadOnlyCollection<int> due, TimeSpan now)
    {
        if (due.Count > 0)
        {
            foreach (var i in due)
            {
                _sent[i] = now;
            }

            Send([.. due.Select(i => _records[i])], Beside(due));
        }
    }

    private void Send(ImmutableArray<DnsRecord> answers, ImmutableArray<DnsRecord> additionals) => send(
        new DnsMessage { Flags = DnsFlags.Response | DnsFlags.Authoritative, Answers = answers, Additionals = additionals }, Mdns.Group);

    private void SendAlone(DnsMessage query, IPEndPoint to, IReadOnlyCollection<int> which, bool legacy)
    {
        // A plain client knows nothing of the bit, and should not keep what changes without a word to it (§6.7).
        DnsRecord For(DnsRecord r) => legacy ? r with { Class = DnsClass.Internet, Ttl = Math.Min(r.Ttl, Mdns.LegacyTtl) } : r;
        send(
            new DnsMessage
            {
                Id = legacy ? query.Id : (ushort)0,
                Flags = DnsFlags.Response | DnsFlags.Authoritative,
                Questions = legacy ? query.Questions : [],
                Answers = [.. which.Select(i => For(_records[i]))],
                Additionals = [.. Beside(which).Select(For)],
            },
            to);
    }

    /// <summary>What who gets these will ask for next (RFC 6763 §12).</summary>
    private ImmutableArray<DnsRecord> Beside(IReadOnlyCollection<int> answers)
    {
        var names = answers.Select(i => _records[i]).SelectMany(r => new[] { r.Name }.Concat(r.Data is DnsTarget { Name: var target } ? [target, Host] : r.Data is DnsSrv ? [Host] : []))
            .ToHashSet();
        return [.. Enumerable.Range(0, _records.Length).Where(i => !answers.Contains(i) && Mdns.HasTopBit(_records[i].Class) && names.Contains(_records[i].Name)).Select(i => _records[i])];
    }

    /// <summary>What is probed for.</summary>
    private IEnumerable<DnsRecord> Unique() => _records.Where(r => Mdns.HasTopBit(r.Class) && r.Type != Mdns.Nsec);

    private ImmutableArray<DnsRecord> Records()
    {
        var own = Mdns.WithTopBit(DnsClass.Internet);
        var told = addresses().Take(MaxAddresses).ToList();
        return
        [
            new(Mdns.Fabric, DnsClass.Internet, Mdns.OtherTtl, new DnsTarget(DnsType.Ptr, Instance)),
            new(Mdns.Types, DnsClass.Internet, Mdns.OtherTtl, new DnsTarget(DnsType.Ptr, Mdns.Fabric)),
            new(Instance, own, Mdns.HostTtl, new DnsSrv(0, 0, (ushort)identity.Port, Host)),
            new(Instance, own, Mdns.OtherTtl, new DnsTxt(["txtvers=1", $"gateway={identity.Gateway}", $"site={identity.Site}", Cut($"td={identity.TrustDomain}", 255)])),
            .. told.Select(a => new DnsRecord(Host, own, Mdns.HostTtl, new DnsAddress(a))),
            Mdns.Only(Instance, Mdns.OtherTtl, DnsType.Txt, DnsType.Srv),
            Mdns.Only(Host, Mdns.HostTtl, [.. told.Select(Mdns.TypeOf).Distinct()]),
        ];
    }

    private sealed class SameComparer : IEqualityComparer<DnsRecord>
    {
        public static readonly SameComparer Instance = new();

        public bool Equals(DnsRecord? x, DnsRecord? y) => x is not null && y is not null && Mdns.Same(x, y);

        public int GetHashCode(DnsRecord obj) => obj.Name.GetHashCode();
    }

    private sealed class ByteOrder : IComparer<byte[]>
    {
        public static readonly ByteOrder Instance = new();

        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
    }
}
