using System.Globalization;

namespace Fabric.Protocol.Dns;

/// <summary>Types and data as people write them (RFC 1035 §5.1, RFC 3597 §5).</summary>
public static class DnsText
{
    /// <summary><c>AAAA</c>, or <c>TYPE65399</c> for one without a name here.</summary>
    public static string Of(DnsType type) => Enum.IsDefined(type) && type != DnsType.None
        ? type.ToString().ToUpperInvariant()
        : string.Create(CultureInfo.InvariantCulture, $"TYPE{(ushort)type}");

    /// <summary>Reads what <see cref="Of(DnsType)"/> writes, in any case of letters.</summary>
    public static bool TryParseType(string text, out DnsType type)
    {
        if (text.StartsWith("TYPE", StringComparison.OrdinalIgnoreCase)
            && ushort.TryParse(text.AsSpan(4), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            type = (DnsType)number;
            return number > 0;
        }

        return Enum.TryParse(text, ignoreCase: true, out type) && Enum.IsDefined(type) && type is not (DnsType.None or DnsType.Opt)
            && !char.IsAsciiDigit(text[0]) && text[0] is not ('-' or '+');
    }

    /// <summary>Data as in a zone file; that of unknown types as <c>\# 2 abcd</c>.</summary>
    public static string Of(DnsData data) => data switch
    {
        DnsAddress address => address.Address.ToString(),
        DnsTarget target => target.Name.ToString(),
        DnsSrv srv => string.Create(CultureInfo.InvariantCulture, $"{srv.Priority} {srv.Weight} {srv.Port} {srv.Target}"),
        DnsSoa soa => string.Create(
            CultureInfo.InvariantCulture,
            $"{soa.PrimaryServer} {soa.Mailbox} {soa.Serial} {soa.Refresh} {soa.Retry} {soa.Expire} {soa.Minimum}"),
        DnsTxt txt => string.Join(' ', txt.Strings.Select(Quote)),
        DnsOpaque { Kind: DnsType.Svcb or DnsType.Https } binding when DnsServiceBindingText.Of(binding.Bytes.AsSpan()) is { } text => text,
        DnsOpaque opaque => string.Create(
            CultureInfo.InvariantCulture, $"\\# {opaque.Bytes.Length} {Convert.ToHexStringLower(opaque.Bytes.AsSpan())}"),
        _ => data.ToString(),
    };

    private static string Quote(string text) => "\"" + string.Concat(text.Select(c => c switch
    {
        '"' or '\\' => $"\\{c}",
        >= ' ' and <= '~' => $"{c}",
        _ => string.Create(CultureInfo.InvariantCulture, $"\\{(int)c:D3}"),
    })) + "\"";
}
