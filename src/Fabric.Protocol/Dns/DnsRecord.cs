using System.Collections.Immutable;
using System.Net;
using System.Text;

namespace Fabric.Protocol.Dns;

public sealed record DnsQuestion(DnsName Name, DnsType Type, DnsClass Class);

/// <summary>A resource record. <see cref="Ttl"/> is in seconds.</summary>
public sealed record DnsRecord(DnsName Name, DnsClass Class, uint Ttl, DnsData Data)
{
    public DnsType Type => Data.Type;
}

/// <summary>The data of a record, by type.</summary>
public abstract record DnsData
{
    public abstract DnsType Type { get; }

    /// <summary>
    /// Reads the data that <paramref name="head"/> announces. False when it does not have its type's form or length; a type
    /// unknown here is kept as bytes (RFC 3597).
    /// </summary>
    public static bool TryRead(ReadOnlySpan<byte> message, in DnsRecordHead head, out DnsData data)
    {
        // Names inside may point back into the message, but must not run past the data's end.
        var end = head.DataOffset + head.DataLength;
        var reader = new DnsReader(message[..end], head.DataOffset);
        var bytes = message[head.DataOffset..end];
        data = null!;
        switch (head.Type)
        {
            case DnsType.A when bytes.Length == 4:
            case DnsType.Aaaa when bytes.Length == 16:
                data = new DnsAddress(new IPAddress(bytes));
                return true;
            case DnsType.A or DnsType.Aaaa:
                return false;
            case DnsType.Ns or DnsType.Ptr or DnsType.Cname:
                return TryReadName(ref reader, out var target) && reader.AtEnd && Set(out data, new DnsTarget(head.Type, target));
            case DnsType.Srv:
                return reader.TryReadUInt16(out var priority) && reader.TryReadUInt16(out var weight)
                    && reader.TryReadUInt16(out var port) && TryReadName(ref reader, out var host) && reader.AtEnd
                    && Set(out data, new DnsSrv(priority, weight, port, host));
            case DnsType.Soa:
                return TryReadName(ref reader, out var mname) && TryReadName(ref reader, out var rname)
                    && reader.TryReadUInt32(out var serial) && reader.TryReadUInt32(out var refresh)
                    && reader.TryReadUInt32(out var retry) && reader.TryReadUInt32(out var expire)
                    && reader.TryReadUInt32(out var minimum) && reader.AtEnd
                    && Set(out data, new DnsSoa(mname, rname, serial, refresh, retry, expire, minimum));
            case DnsType.Txt:
                return DnsTxt.TryRead(bytes, out data);
            case DnsType.Opt:
                return DnsOpt.TryRead(bytes, out data);
            default:
                data = new DnsOpaque(head.Type, [.. bytes]);
                return true;
        }
    }

    /// <summary>Appends the data, without its length. False when the room does not suffice.</summary>
    internal abstract bool TryWrite(ref DnsWriter writer);

    private static bool Set(out DnsData data, DnsData value)
    {
        data = value;
        return true;
    }

    private static bool TryReadName(ref DnsReader reader, out DnsName name)
    {
        Span<byte> wire = stackalloc byte[DnsLimits.Name];
        name = DnsName.Root;
        if (!reader.TryReadName(wire, out var length))
        {
            return false;
        }

        name = DnsName.FromWire(wire[..length]);
        return true;
    }
}

/// <summary>A or AAAA, by the address's family.</summary>
public sealed record DnsAddress : DnsData
{
    private readonly byte[] _bytes;

    public DnsAddress(IPAddress address) => (Address, _bytes) = (address, address.GetAddressBytes());

    public IPAddress Address { get; }

    public override DnsType Type => _bytes.Length == 4 ? DnsType.A : DnsType.Aaaa;

    public bool Equals(DnsAddress? other) => other is not null && Address.Equals(other.Address);

    public override int GetHashCode() => Address.GetHashCode();

    internal override bool TryWrite(ref DnsWriter writer) => writer.TryWriteBytes(_bytes);
}

/// <summary>NS, PTR or CNAME: one name.</summary>
public sealed record DnsTarget(DnsType Kind, DnsName Name) : DnsData
{
    public override DnsType Type => Kind;

    internal override bool TryWrite(ref DnsWriter writer) => writer.TryWriteName(Name.Wire);
}

/// <summary>RFC 2782; its target is written without compression, as that asks.</summary>
public sealed record DnsSrv(ushort Priority, ushort Weight, ushort Port, DnsName Target) : DnsData
{
    public override DnsType Type => DnsType.Srv;

    internal override bool TryWrite(ref DnsWriter writer) => writer.TryWriteUInt16(Priority) && writer.TryWriteUInt16(Weight)
        && writer.TryWriteUInt16(Port) && writer.TryWriteBytes(Target.Wire);
}

/// <summary>RFC 1035 §3.3.13; times in seconds. <see cref="Minimum"/> bounds how long a negative answer is kept (RFC
/// 2308).</summary>
public sealed record DnsSoa(
    DnsName PrimaryServer, DnsName Mailbox, uint Serial, uint Refresh, uint Retry, uint Expire, uint Minimum) : DnsData
{
    public override DnsType Type => DnsType.Soa;

    internal override bool TryWrite(ref DnsWriter writer) => writer.TryWriteName(PrimaryServer.Wire)
        && writer.TryWriteName(Mailbox.Wire) && writer.TryWriteUInt32(Serial) && writer.TryWriteUInt32(Refresh)
        && writer.TryWriteUInt32(Retry) && writer.TryWriteUInt32(Expire) && writer.TryWriteUInt32(Minimum);
}

/// <summary>Strings of at most 255 bytes, at least one; each char is one byte (Latin-1), so that nothing is lost.</summary>
public sealed record DnsTxt(ImmutableArray<string> Strings) : DnsData
{
    public override DnsType Type => DnsType.Txt;

    internal static bool TryRead(ReadOnlySpan<byte> bytes, out DnsData data)
    {
        var strings = ImmutableArray.CreateBuilder<string>();
        data = null!;
        while (!bytes.IsEmpty)
        {
            if (bytes[0] >= bytes.Length)
            {
                return false;
            }

            strings.Add(Encoding.Latin1.GetString(bytes.Slice(1, bytes[0])));
            bytes = bytes[(bytes[0] + 1)..];
        }

        data = new DnsTxt(strings.ToImmutable());
        return strings.Count > 0;
    }

    internal override bool TryWrite(ref DnsWriter writer)
    {
        foreach (var text in Strings)
        {
            var bytes = Encoding.Latin1.GetBytes(text);
            if (bytes.Length > 255)
            {
                throw new ArgumentException($"a TXT string has {bytes.Length} bytes: at most 255; split it");
            }

            if (!writer.TryWriteBytes([(byte)bytes.Length]) || !writer.TryWriteBytes(bytes))
            {
                return false;
            }
        }

        return true;
    }
}

public sealed record DnsOption(ushort Code, ImmutableArray<byte> Data);

/// <summary>
/// EDNS (RFC 6891). The record's class is the sender's UDP payload size; its TTL is 8 bits of extended RCODE, 8 of version
/// and 16 of flags.
/// </summary>
public sealed record DnsOpt(ImmutableArray<DnsOption> Options) : DnsData
{
    /// <summary>The DO bit within the record's TTL (RFC 3225).</summary>
    public const uint DnssecOk = 0x8000;

    public override DnsType Type => DnsType.Opt;

    internal static bool TryRead(ReadOnlySpan<byte> bytes, out DnsData data)
    {
        var options = ImmutableArray.CreateBuilder<DnsOption>();
        var reader = new DnsReader(bytes);
        data = null!;
        while (!reader.AtEnd)
        {
            if (!reader.TryReadUInt16(out var code) || !reader.TryReadUInt16(out var length)
                || !reader.TryReadBytes(length, out var value))
            {
                return false;
            }

            options.Add(new DnsOption(code, [.. value]));
        }

        data = new DnsOpt(options.ToImmutable());
        return true;
    }

    internal override bool TryWrite(ref DnsWriter writer)
    {
        foreach (var option in Options)
        {
            if (!writer.TryWriteUInt16(option.Code) || !writer.TryWriteUInt16((ushort)option.Data.Length)
                || !writer.TryWriteBytes(option.Data.AsSpan()))
            {
                return false;
            }
        }

        return true;
    }
}

/// <summary>A type that this code does not know, as it came.</summary>
public sealed record DnsOpaque(DnsType Kind, ImmutableArray<byte> Bytes) : DnsData
{
    public override DnsType Type => Kind;

    internal override bool TryWrite(ref DnsWriter writer) => writer.TryWriteBytes(Bytes.AsSpan());
}
