using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Joining;

/// <summary>
/// A one-time permission for one gateway to join. <see cref="Format"/> is its printable form, <c>fab1.…</c>: it holds the
/// secret, so <see cref="ToString"/> does not show it.
/// </summary>
public sealed record JoinToken
{
    public const string Prefix = "fab1.";
    public const int MaxTextLength = 4096;
    public const int MaxAddresses = 16;
    private const int ChecksumBytes = 4;

    public required string TrustDomain { get; init; }
    public required string Site { get; init; }
    public required string Gateway { get; init; }

    /// <summary>8 bytes: names the token; no secret.</summary>
    public required byte[] Id { get; init; }

    /// <summary>32 bytes.</summary>
    public required byte[] Secret { get; init; }

    /// <summary>SHA-256 over the root certificate's DER, 32 bytes.</summary>
    public required byte[] RootFingerprint { get; init; }

    /// <summary><c>host:port</c> of the authority; none: it is redeemed on the authority's own host.</summary>
    public required IReadOnlyList<string> Addresses { get; init; }

    public required DateTimeOffset Expires { get; init; }

    public GatewayId GatewayId => new(TrustDomain, Site, Gateway);

    public override string ToString() => $"join token {Convert.ToHexStringLower(Id)} for {GatewayId} (secret not shown)";

    public string Format()
    {
        var payload = new JoinTokenPayload
        {
            TrustDomain = TrustDomain,
            Site = Site,
            Gateway = Gateway,
            Id = ByteString.CopyFrom(Id),
            Secret = ByteString.CopyFrom(Secret),
            RootSha256 = ByteString.CopyFrom(RootFingerprint),
            Addresses = { Addresses },
            Expires = Expires.ToUnixTimeSeconds(),
        }.ToByteArray();
        return Prefix + Base64Url.EncodeToString([.. payload, .. SHA256.HashData(payload).AsSpan(0, ChecksumBytes)]);
    }

    /// <summary>False with the reason (which never repeats the text) when this is no token or was damaged on its way.</summary>
    public static bool TryParse(string? text, [NotNullWhen(true)] out JoinToken? token, out string reason)
    {
        token = null;
        text = text?.Trim() ?? "";
        reason = !text.StartsWith(Prefix, StringComparison.Ordinal) ? $"a join token begins with {Prefix}"
            : text.Length > MaxTextLength ? $"a join token has at most {MaxTextLength} characters, and this has {text.Length}"
            : !Base64Url.IsValid(text.AsSpan(Prefix.Length)) ? "the join token has characters that no token has"
            : "";
        if (reason.Length > 0)
        {
            return false;
        }

        var bytes = Base64Url.DecodeFromChars(text.AsSpan(Prefix.Length));
        if (bytes.Length <= ChecksumBytes
            || !SHA256.HashData(bytes.AsSpan(0, bytes.Length - ChecksumBytes)).AsSpan(0, ChecksumBytes)
                .SequenceEqual(bytes.AsSpan(bytes.Length - ChecksumBytes)))
        {
            reason = "the join token is damaged: its checksum does not match. Was it copied whole?";
            return false;
        }

        try
        {
            var read = JoinTokenPayload.Parser.ParseFrom(bytes.AsSpan(0, bytes.Length - ChecksumBytes));
            token = Accept(read, out reason);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or ArgumentOutOfRangeException)
        {
            reason = "the join token is malformed";
        }

        return token is not null;
    }

    /// <summary>Whether text is <c>host:port</c> or <c>[v6]:port</c>.</summary>
    public static bool IsAddress(string text) => TrySplit(text, out _, out _);

    /// <summary>Host (without brackets) and port of <c>host:port</c>.</summary>
    public static bool TrySplit(string text, out string host, out int port)
    {
        (host, port) = ("", 0);
        var colon = text.LastIndexOf(':');
        if (colon <= 0 || text.Length > 262 || !int.TryParse(text.AsSpan(colon + 1), System.Globalization.NumberStyles.None,
            null, out port))
        {
            return false;
        }

        host = text[..colon];
        var bracketed = host is ['[', .., ']'];
        host = bracketed ? host[1..^1] : host;
        return port is > 0 and <= 65535
            && Uri.CheckHostName(host) is var kind
            && (bracketed ? kind == UriHostNameType.IPv6 : kind is UriHostNameType.Dns or UriHostNameType.IPv4);
    }

    private static JoinToken? Accept(JoinTokenPayload read, out string reason)
    {
        if (!SpiffeId.IsTrustDomain(read.TrustDomain, out reason) || !SpiffeId.IsSegment(read.Site, out reason)
            || !SpiffeId.IsSegment(read.Gateway, out reason))
        {
            return null;
        }

        reason = read.Id.Length != 8 || read.Secret.Length != 32 || read.RootSha256.Length != 32 ? "the join token is malformed"
            : read.Addresses.Count > MaxAddresses ? $"a join token has at most {MaxAddresses} addresses"
            : read.Addresses.FirstOrDefault(a => !IsAddress(a)) is not null ? "an address in the join token is not host:port"
            : "";
        return reason.Length > 0 ? null : new JoinToken
        {
            TrustDomain = read.TrustDomain,
            Site = read.Site,
            Gateway = read.Gateway,
            Id = read.Id.ToByteArray(),
            Secret = read.Secret.ToByteArray(),
            RootFingerprint = read.RootSha256.ToByteArray(),
            Addresses = read.Addresses.ToArray(),
            Expires = DateTimeOffset.FromUnixTimeSeconds(read.Expires),
        };
    }
}
