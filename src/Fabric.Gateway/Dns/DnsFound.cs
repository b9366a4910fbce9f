using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

internal enum DnsPlace
{
    /// <summary>In no zone here.</summary>
    Outside,

    /// <summary>In a zone, and there is no such name.</summary>
    NoName,

    /// <summary>There is such a name, with data or without.</summary>
    Name,

    /// <summary>What it answers is not known now.</summary>
    Failed,
}

/// <summary>What a zone has at a name.</summary>
internal ref struct DnsFound
{
    public DnsPlace Place;

    /// <summary>Where the name of the zone begins within the name that was asked for.</summary>
    public int ZoneOffset;

    /// <summary>Whether the zone is one of reverse names.</summary>
    public bool InReverse;

    /// <summary>What <see cref="Answers"/> are within.</summary>
    public DnsAnswerSet? Set;

    /// <summary>By type; empty for a name without data.</summary>
    public ReadOnlySpan<DnsAnswer> Answers;

    /// <summary>What PTR records name, beside the answers: labels below the domain.</summary>
    public ReadOnlySpan<byte[]> Pointers;

    /// <summary>Text of an Extended DNS Error: why there is no data. Null: no such reason.</summary>
    public byte[]? Why;

    /// <summary>The error's code.</summary>
    public DnsExtendedError Code;

    /// <summary>The answer of that type; false when there is none.</summary>
    public readonly bool TryGet(DnsType type, out DnsAnswer answer)
    {
        foreach (ref readonly var one in Answers)
        {
            if (one.Type == type && type != DnsType.None)
            {
                answer = one;
                return true;
            }
        }

        answer = default;
        return false;
    }
}
