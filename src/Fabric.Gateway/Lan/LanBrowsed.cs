using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Lan;

/// <summary>A type of services that is looked for, and what was heard of it.</summary>
internal sealed class LanBrowsed(string type)
{
    private static readonly TimeSpan _longest = TimeSpan.FromHours(1);

    public string Type => type;

    public DnsName Name { get; } = Mdns.TypeName(type);

    public Dictionary<DnsName, LanInstance> Instances { get; } = [];

    /// <summary>Null: not before the start.</summary>
    public LanBackoff? Asks { get; private set; }

    public void Start(TimeSpan at) => Asks = new LanBackoff(at, _longest);

    /// <summary>Whether it is known, for at least half of its time: then it goes along with the question (RFC 6762 §7.1).</summary>
    public bool Knows(DnsName instance, TimeSpan now) =>
        Instances.TryGetValue(instance, out var found) && found.Pointer.Left(now) > found.Pointer.Ttl / 2;

    /// <summary>All of these, as records.</summary>
    public IEnumerable<DnsRecord> Known(TimeSpan now) => Instances.Where(i => Knows(i.Key, now)).Select(i => new DnsRecord(
        Name, DnsClass.Internet, (uint)i.Value.Pointer.Left(now).TotalSeconds, new DnsTarget(DnsType.Ptr, i.Key)));
}

/// <summary>An instance of a type, as far as it is heard of.</summary>
internal sealed class LanInstance(LanKept<DnsName> pointer, TimeSpan since)
{
    public LanKept<DnsName> Pointer { get; set; } = pointer;

    public TimeSpan Since => since;

    public LanKept<DnsSrv>? Srv { get; set; }

    public LanKept<DnsTxt>? Txt { get; set; }

    public LanBackoff Asks { get; } = new(since, LanHost.LongestPause);

    public LanBackoff TxtAsks { get; } = new(since, LanHost.LongestPause);

    public bool WasWhole { get; set; }
}

/// <summary>A host that an instance is at.</summary>
internal sealed class LanHost
{
    /// <summary>Between questions for what is missing.</summary>
    public static readonly TimeSpan LongestPause = TimeSpan.FromMinutes(1);

    public Dictionary<IPAddress, LanKept<IPAddress>> Addresses { get; } = [];

    public LanBackoff Asks { get; } = new(TimeSpan.Zero, LongestPause);
}
