using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Lan;

/// <summary>
/// Finds services of some types on one network (RFC 6763), and forgets them when they say so or are silent. No I/O and no clock, as
/// <see cref="LanResponder"/>. Not for several threads at once.
/// </summary>
/// <remarks>
/// Everyone on the network can say what he likes, so what is kept is what was looked for: instances of the types, then what these say of
/// themselves, then addresses of their hosts, and only addresses of this network. Numbers of all have limits; at them what is new is left
/// out, but for an instance that has never become whole, which makes room.
/// </remarks>
internal sealed class LanBrowser
{
    /// <summary>Instances of one type.</summary>
    public const int MaxInstances = 64;

    /// <summary>Addresses of one host.</summary>
    public const int MaxAddresses = 4;

    /// <summary>TXT strings of one instance, and bytes of all of them.</summary>
    public const int MaxText = 16;

    public const int MaxTextBytes = 1024;

    /// <summary>Questions asked in a second.</summary>
    public const int MaxQuestions = 200;

    /// <summary>Questions of another that are looked at in one message.</summary>
    private const int MaxHeard = 32;

    /// <summary>An instance that is not whole after this long makes room for another.</summary>
    private static readonly TimeSpan _unresolved = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan _second = TimeSpan.FromSeconds(1);

    private readonly ImmutableArray<LanBrowsed> _types;
    private readonly ImmutableArray<DnsType> _addressTypes;
    private readonly Func<IPAddress, bool> _isHere;
    private readonly Random _random;
    private readonly Action<DnsMessage> _ask;
    private readonly Dictionary<DnsName, LanHost> _hosts = [];
    private TimeSpan _askedSince;
    private int _askedLately;

    /// <param name="types">Such as <c>_http._tcp</c>; each once.</param>
    /// <param name="addressTypes">A, AAAA, or both: what hosts are asked for.</param>
    /// <param name="isHere">Whether an address is one of this network.</param>
    /// <param name="random">Spreads questions.</param>
    /// <param name="ask">Sends a query to all.</param>
    public LanBrowser(IEnumerable<string> types, ImmutableArray<DnsType> addressTypes, Func<IPAddress, bool> isHere, Random random, Action<DnsMessage> ask)
    {
        _types = [.. types.Select(t => new LanBrowsed(t))];
        (_addressTypes, _isHere, _random, _ask) = (addressTypes, isHere, random, ask);
    }

    /// <summary>What is whole now, in order of type and name.</summary>
    public ImmutableArray<LanService> Found { get; private set; } = [];

    /// <summary>What was left out because a limit was reached.</summary>
    public long LeftOut { get; private set; }

    public TimeSpan? Due { get; private set; }

    /// <summary>Asks for all types, soon; and from then on ever more seldom (RFC 6762 §5.2).</summary>
    public void Start(TimeSpan now)
    {
        foreach (var type in _types)
        {
            type.Start(now + TimeSpan.FromMilliseconds(_random.Next(20, 121)));
        }

        Schedule();
    }

    /// <summary>A response that came from a host of this network. True when <see cref="Found"/> is another.</summary>
    public bool Hear(DnsMessage response, TimeSpan now)
    {
        // The order in a message means nothing: names first, then what they say of themselves, then hosts.
        foreach (var step in new[] { DnsType.Ptr, DnsType.Srv, DnsType.Txt, DnsType.A, DnsType.Aaaa })
        {
            foreach (var record in response.Answers.Concat(response.Additionals).Where(r => r.Type == step && Mdns.Plain(r.Class) == DnsClass.Internet))
            {
                switch (record.Data)
                {
                    case DnsTarget target:
                        HearInstance(record, target.Name, now);
                        break;
                    case DnsSrv srv when srv.Port > 0 && IsHostName(srv.Target) && InstanceOf(record.Name) is { } instance:
                        // There is one for each instance at most: those that no instance names go.
                        _hosts.TryAdd(srv.Target, new LanHost());
                        instance.Srv = Replaced(instance.Srv, srv, record, now);
                        break;
                    case DnsTxt txt when InstanceOf(record.Name) is { } instance:
                        instance.Txt = Replaced(instance.Txt, txt, record, now);
                        break;
                    case DnsAddress { Address: var address } when _hosts.TryGetValue(record.Name, out var host) && _isHere(address):
                        HearAddress(host, address, record, now);
                        break;
                }
            }
        }

        return Settle(now);
    }

    /// <summary>A query that came from another host of this network: what it asks all for need not be asked here as well (RFC 6762 §7.3).</summary>
    public void HearQuery(DnsMessage query, TimeSpan now)
    {
        // More known answers will follow, which may not be known here.
        if ((query.Flags & DnsFlags.Truncated) != 0)
        {
            return;
        }

        ImmutableArray<DnsQuestion> questions = [.. query.Questions.Where(q => q.Class == DnsClass.Internet).Take(MaxHeard)];
        foreach (var question in questions)
        {
            var known = query.Answers.Where(a => a.Type == question.Type && a.Name.Equals(question.Name)).ToList();
            var asks = question.Type switch
            {
                DnsType.Ptr when _types.FirstOrDefault(t => t.Name.Equals(question.Name)) is { } type
                    && known.TrueForAll(k => k.Data is DnsTarget target && type.Knows(target.Name, now)) => type.Asks,
                DnsType.Srv when known.Count == 0 && InstanceOf(question.Name) is { Srv: null } instance => instance.Asks,
                DnsType.Txt when known.Count == 0 && InstanceOf(question.Name) is { Txt: null } instance => instance.TxtAsks,
                DnsType.A or DnsType.Aaaa when known.Count == 0 && _hosts.TryGetValue(question.Name, out var host) && host.Addresses.Count == 0
                    && _addressTypes.All(t => questions.Any(q => q.Type == t && q.Name.Equals(question.Name))) => host.Asks,
                _ => null,
            };
            asks?.Spare(now);
        }

        Schedule();
    }

    /// <summary>Asks what is due, and forgets what is over. True when <see cref="Found"/> is another.</summary>
    public bool Turn(TimeSpan now)
    {
        var changed = Settle(now);
        var questions = new List<DnsQuestion>();
        var known = new List<DnsRecord>();
        foreach (var type in _types)
        {
            var due = type.Asks?.IsDue(now) == true;
            // Each before its end, so that it is told again (§5.2).
            due = type.Instances.Values.Aggregate(due, (any, i) => i.Pointer.IsRefreshDue(now, _random) || any);
            if (due)
            {
                questions.Add(new DnsQuestion(type.Name, DnsType.Ptr, DnsClass.Internet));
                known.AddRange(type.Known(now));
            }

            foreach (var (name, instance) in type.Instances)
            {
                if (instance.Srv?.IsRefreshDue(now, _random) ?? instance.Asks.IsDue(now))
                {
                    questions.Add(new DnsQuestion(name, DnsType.Srv, DnsClass.Internet));
                }

                if (instance.Txt?.IsRefreshDue(now, _random) ?? instance.TxtAsks.IsDue(now))
                {
                    questions.Add(new DnsQuestion(name, DnsType.Txt, DnsClass.Internet));
                }
            }
        }

        foreach (var (name, host) in _hosts)
        {
            if (host.Addresses.Count == 0 ? host.Asks.IsDue(now) : host.Addresses.Values.Aggregate(false, (any, a) => a.IsRefreshDue(now, _random) || any))
            {
                questions.AddRange(_addressTypes.Select(t => new DnsQuestion(name, t, DnsClass.Internet)));
            }
        }

        Ask(questions, known, now);
        Schedule();
        return changed;
    }

    /// <summary>Hosts have a name of one label in <c>local</c>: no other is answered here.</summary>
    private static bool IsHostName(DnsName name) => name.LabelCount == 2 && name.Parent.Equals(Mdns.Local);

    private LanInstance? InstanceOf(DnsName name)
    {
        foreach (var type in _types)
        {
            if (type.Instances.TryGetValue(name, out var found))
            {
                return found;
            }
        }

        return null;
    }

    private void HearInstance(DnsRecord record, DnsName name, TimeSpan now)
    {
        if (_types.FirstOrDefault(t => t.Name.Equals(record.Name)) is not { } type || name.IsRoot || !name.Parent.Equals(type.Name))
        {
            return;
        }

        if (type.Instances.TryGetValue(name, out var known))
        {
            known.Pointer = new LanKept<DnsName>(name, record.Ttl, now);
        }
        else if (record.Ttl > 0)
        {
            if (type.Instances.Count >= MaxInstances)
            {
                if (type.Instances.FirstOrDefault(i => !i.Value.WasWhole && now - i.Value.Since > _unresolved) is not { Key: { } idle })
                {
                    LeftOut++;
                    return;
                }

                type.Instances.Remove(idle);
            }

            type.Instances.Add(name, new LanInstance(new LanKept<DnsName>(name, record.Ttl, now), now));
        }
    }

    private void HearAddress(LanHost host, IPAddress address, DnsRecord record, TimeSpan now)
    {
        if (Mdns.HasTopBit(record.Class))
        {
            // These are all of their type that there are; what came within the last second is of the same burst (§10.2).
            foreach (var (other, kept) in host.Addresses.ToList())
            {
                if (other.AddressFamily == address.AddressFamily && !other.Equals(address) && now - kept.Heard > _second)
                {
                    host.Addresses[other] = kept.Ending(now);
                }
            }
        }

        if (host.Addresses.ContainsKey(address) || record.Ttl > 0 && host.Addresses.Count < MaxAddresses)
        {
            host.Addresses[address] = new LanKept<IPAddress>(address, record.Ttl, now);
        }
        else if (record.Ttl > 0)
        {
            LeftOut++;
        }
    }

    /// <summary>One of its kind. Without a second one from the same moment it counts, and a goodbye counts for what it names.</summary>
    private static LanKept<T>? Replaced<T>(LanKept<T>? before, T data, DnsRecord record, TimeSpan now)
        where T : DnsData
    {
        if (record.Ttl > 0)
        {
            return new LanKept<T>(data, record.Ttl, now);
        }

        return before is not null && Mdns.SameData(before.Data, data) ? before.Ending(now) : before;
    }

    /// <summary>What is over goes, what is found is put together.</summary>
    private bool Settle(TimeSpan now)
    {
        var found = ImmutableArray.CreateBuilder<LanService>();
        var needed = new HashSet<DnsName>();
        foreach (var type in _types)
        {
            foreach (var (name, instance) in type.Instances.ToList())
            {
                if (instance.Pointer.IsOver(now))
                {
                    type.Instances.Remove(name);
                    continue;
                }

                instance.Srv = instance.Srv?.IsOver(now) == true ? null : instance.Srv;
                instance.Txt = instance.Txt?.IsOver(now) == true ? null : instance.Txt;
                if (instance.Srv is not { Data: var srv })
                {
                    continue;
                }

                needed.Add(srv.Target);
                if (_hosts.TryGetValue(srv.Target, out var host) && host.Addresses.Values.Any(a => !a.IsOver(now)))
                {
                    instance.WasWhole = true;
                    found.Add(new LanService(
                        Label(name), type.Type, srv.Target.ToString().TrimEnd('.'), srv.Port,
                        [.. host.Addresses.Values.Where(a => !a.IsOver(now)).Select(a => a.Data).OrderBy(a => a.AddressFamily).ThenBy(a => a.ToString(), StringComparer.Ordinal)],
                        Text(instance.Txt?.Data)));
                }
            }
        }

        foreach (var (name, host) in _hosts.ToList())
        {
            foreach (var over in host.Addresses.Where(a => a.Value.IsOver(now)).Select(a => a.Key).ToList())
            {
                host.Addresses.Remove(over);
            }

            if (!needed.Contains(name))
            {
                _hosts.Remove(name);
            }
        }

        ImmutableArray<LanService> ordered = [.. found.OrderBy(s => s.Type, StringComparer.Ordinal).ThenBy(s => s.Instance, StringComparer.Ordinal)];
        Schedule();
        if (ordered.SequenceEqual(Found))
        {
            return false;
        }

        Found = ordered;
        return true;
    }

    private static string Label(DnsName instance)
    {
        var wire = instance.Wire;
        return System.Text.Encoding.UTF8.GetString(wire.Slice(1, wire[0]));
    }

    private static ImmutableArray<string> Text(DnsTxt? txt)
    {
        var bytes = 0;
        return [.. (txt?.Strings ?? []).Where(s => s.Length > 0).Take(MaxText).TakeWhile(s => (bytes += s.Length) <= MaxTextBytes)];
    }

    /// <summary>In messages that pass whole; where the known answers need more than one, TC says that more come (§7.2).</summary>
    private void Ask(List<DnsQuestion> questions, List<DnsRecord> known, TimeSpan now)
    {
        // Names that strangers make up are asked for as others are: so many, and the rest another time.
        (_askedSince, _askedLately) = now - _askedSince < _second ? (_askedSince, _askedLately) : (now, 0);
        var allowed = questions.Take(MaxQuestions - _askedLately).ToList();
        _askedLately += allowed.Count;
        foreach (var some in allowed.Chunk(12))
        {
            var left = new Queue<DnsRecord>(known.Where(k => some.Any(q => q.Name.Equals(k.Name))));
            ImmutableArray<DnsQuestion> asked = [.. some];
            do
            {
                var answers = ImmutableArray.CreateBuilder<DnsRecord>();
                // A pointer, type, class, TTL, length, and the instance's own label: at most 80 bytes, and questions at most 90 each.
                for (var room = (Mdns.MaxSent - 90 * asked.Length) / 80; left.Count > 0 && room > 0; room--)
                {
                    answers.Add(left.Dequeue());
                }

                _ask(new DnsMessage { Flags = left.Count > 0 ? DnsFlags.Truncated : DnsFlags.None, Questions = asked, Answers = answers.ToImmutable() });
                asked = [];
            }
            while (left.Count > 0);
        }
    }

    private void Schedule()
    {
        TimeSpan? due = null;
        void At(TimeSpan? at) => due = at is { } t && (due is null || t < due) ? t : due;
        foreach (var type in _types)
        {
            At(type.Asks?.Next);
            foreach (var instance in type.Instances.Values)
            {
                At(instance.Pointer.Due);
                At(instance.Srv?.Due ?? instance.Asks.Next);
                At(instance.Txt?.Due ?? instance.TxtAsks.Next);
            }
        }

        foreach (var host in _hosts.Values)
        {
            if (host.Addresses.Count == 0)
            {
                At(host.Asks.Next);
            }

            foreach (var address in host.Addresses.Values)
            {
                At(address.Due);
            }
        }

        Due = due;
    }
}
