using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>
/// Everything that this gateway answers, compiled and immutable. Every answer that holds data is a run of bytes, ready to
/// follow the echoed question; negative ones are put together from the SOA record. See README.md for what is answered.
/// </summary>
public sealed class DnsZone
{
    private readonly FrozenDictionary<DnsName, DnsNode> _nodes;
    private readonly FrozenDictionary<DnsName, DnsNode>.AlternateLookup<ReadOnlySpan<byte>> _byBytes;
    private readonly int _deepest;

    internal DnsZone(IReadOnlyDictionary<DnsName, DnsNode> nodes)
    {
        _nodes = nodes.ToFrozenDictionary(DnsNameComparer.Instance);
        _byBytes = _nodes.GetAlternateLookup<ReadOnlySpan<byte>>();
        _deepest = _nodes.Count == 0 ? 0 : _nodes.Keys.Max(n => n.LabelCount);
    }

    /// <summary>Answers nothing: REFUSED to all.</summary>
    public static DnsZone Empty { get; } = new(ImmutableDictionary<DnsName, DnsNode>.Empty);

    /// <summary>Names that exist, those without data included.</summary>
    public int Count => _nodes.Count;

    /// <param name="domain">Domain of the services, e.g. <c>svc.clusterset.local</c>. The zone is its parent when its first
    /// label is <c>svc</c>, for <c>dns-version.clusterset.local</c> stands there; else the domain itself.</param>
    /// <param name="services">At most one per name and namespace.</param>
    /// <param name="serial">SOA serial: rises with every change (RFC 1982).</param>
    /// <param name="options">TTLs and more.</param>
    /// <exception cref="FormatException">A name, a port or a range breaks a rule; the message holds all such errors.</exception>
    public static DnsZone Build(string domain, IEnumerable<DnsService> services, uint serial, DnsZoneOptions options) =>
        DnsZoneBuilder.Build(domain, services, serial, options);

    /// <summary>
    /// The node at a name, or the closest one above it when it does not exist (<paramref name="exact"/> tells); null outside of
    /// every zone. Labels beyond the deepest name's count are cut off first, so that a long name costs no more than a short one.
    /// </summary>
    internal DnsNode? Find(ReadOnlySpan<byte> name, out bool exact)
    {
        var labels = 0;
        for (var at = 0; name[at] != 0; at += name[at] + 1)
        {
            labels++;
        }

        exact = labels <= _deepest;
        for (; labels > _deepest; labels--)
        {
            name = name[(name[0] + 1)..];
        }

        DnsNode? node;
        while (!_byBytes.TryGetValue(name, out node) && name[0] != 0)
        {
            exact = false;
            name = name[(name[0] + 1)..];
        }

        return node;
    }
}

/// <summary>A name that exists: its data by type (none: an empty non-terminal), and the SOA record of its zone.</summary>
internal sealed record DnsNode(ImmutableArray<DnsAnswer> Answers, DnsRecord NegativeSoa)
{
    public DnsAnswer? Of(DnsType type)
    {
        foreach (var answer in Answers)
        {
            if (answer.Type == type)
            {
                return answer;
            }
        }

        return null;
    }
}

/// <summary>
/// The answer to one name and type: the bytes after the question, which has that name's length wherever it is asked, so that
/// pointers into it hold. The first <paramref name="AnswerLength"/> bytes are the answer section, the rest is additional.
/// </summary>
internal sealed record DnsAnswer(DnsType Type, byte[] Bytes, int AnswerLength, ushort AnswerCount, ushort AdditionalCount);
