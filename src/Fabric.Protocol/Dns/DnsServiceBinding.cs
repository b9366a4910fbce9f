using System.Collections.Immutable;
using System.Net;
using System.Text;

namespace Fabric.Protocol.Dns;

/// <summary>
/// SVCB or HTTPS in service mode (RFC 9460): what is spoken where. Keys are written in rising order: alpn, port, ipv4hint, ipv6hint.
/// Its target is written without compression, as §2.2 asks.
/// </summary>
/// <param name="Kind"><see cref="DnsType.Svcb"/> or <see cref="DnsType.Https"/>.</param>
/// <param name="Priority">1 is tried first.</param>
/// <param name="Target">Host; the root means the record's own name.</param>
/// <param name="Alpn">Protocols by their ALPN names, such as <c>h2</c>.</param>
/// <param name="Port">Null: the scheme's own.</param>
/// <param name="Hint">An address of the target, to save a look-up; null: none.</param>
public sealed record DnsServiceBinding(
    DnsType Kind, ushort Priority, DnsName Target, ImmutableArray<string> Alpn, ushort? Port, IPAddress? Hint) : DnsData
{
    private const ushort AlpnKey = 1;
    private const ushort NoDefaultAlpnKey = 2;
    private const ushort PortKey = 3;
    private const ushort Ipv4HintKey = 4;
    private const ushort Ipv6HintKey = 6;

    // Every server of HTTPS is taken to speak it unless it is said that it does not (RFC 9460 §9.1, §7.1.2).
    private const string DefaultAlpn = "http/1.1";

    public override DnsType Type => Kind;

    internal override bool TryWrite(ref DnsWriter writer)
    {
        var others = Alpn.Where(a => Kind != DnsType.Https || a != DefaultAlpn).ToList();
        return writer.TryWriteUInt16(Priority) && writer.TryWriteBytes(Target.Wire)
            && (others.Count == 0 || TryWriteAlpn(ref writer, others))
            && (Kind != DnsType.Https || others.Count == 0 || others.Count < Alpn.Length
                || writer.TryWriteUInt16(NoDefaultAlpnKey) && writer.TryWriteUInt16(0))
            && (Port is not { } port
                || writer.TryWriteUInt16(PortKey) && writer.TryWriteUInt16(2) && writer.TryWriteUInt16(port))
            && (Hint is null || TryWriteHint(ref writer, Hint.GetAddressBytes()));
    }

    private static bool TryWriteAlpn(ref DnsWriter writer, List<string> names)
    {
        var bytes = names.SelectMany(n => Encoding.ASCII.GetBytes(n).Prepend((byte)n.Length)).ToArray();
        return writer.TryWriteUInt16(AlpnKey) && writer.TryWriteUInt16((ushort)bytes.Length) && writer.TryWriteBytes(bytes);
    }

    private static bool TryWriteHint(ref DnsWriter writer, byte[] address) =>
        writer.TryWriteUInt16(address.Length == 4 ? Ipv4HintKey : Ipv6HintKey)
        && writer.TryWriteUInt16((ushort)address.Length) && writer.TryWriteBytes(address);
}
