using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Fabric.Identity;

/// <summary>
/// <c>spiffe://&lt;trust domain&gt;/&lt;path&gt;</c>, strictly as the SPIFFE-ID standard writes it: at most 2,048 bytes, trust
/// domain at most 255 of <c>[a-z0-9.-_]</c>, segments of <c>[a-zA-Z0-9.-_]</c>, none empty, <c>.</c> or <c>..</c>; no port, user,
/// query, fragment or percent-encoding. There is one way to write an ID, so comparing text compares IDs.
/// </summary>
public sealed record SpiffeId
{
    public const int MaxBytes = 2048;
    public const int MaxTrustDomainBytes = 255;
    private const string Scheme = "spiffe://";

    private SpiffeId(string trustDomain, string path) => (TrustDomain, Path) = (trustDomain, path);

    public string TrustDomain { get; }

    /// <summary>Empty for the trust domain itself; otherwise it begins with <c>/</c>.</summary>
    public string Path { get; }

    public override string ToString() => Scheme + TrustDomain + Path;

    /// <summary>
    /// False with the reason, which names the value and the rule, when <paramref name="text"/> is no SPIFFE ID.
    /// </summary>
    public static bool TryParse(string? text, [NotNullWhen(true)] out SpiffeId? id, out string reason)
    {
        id = null;
        if (text is null || !text.StartsWith(Scheme, StringComparison.Ordinal))
        {
            reason = $"\"{Shown(text)}\" does not begin with {Scheme}";
            return false;
        }

        if (Encoding.UTF8.GetByteCount(text) > MaxBytes)
        {
            reason = $"a SPIFFE ID of {Encoding.UTF8.GetByteCount(text)} bytes is over the limit of {MaxBytes}";
            return false;
        }

        var slash = text.IndexOf('/', Scheme.Length);
        var trustDomain = slash < 0 ? text[Scheme.Length..] : text[Scheme.Length..slash];
        var path = slash < 0 ? "" : text[slash..];
        if (!IsTrustDomain(trustDomain, out reason) || !IsPath(path, out reason))
        {
            return false;
        }

        id = new SpiffeId(trustDomain, path);
        return true;
    }

    /// <summary>Whether <paramref name="text"/> is a trust domain by itself, without scheme and path.</summary>
    public static bool IsTrustDomain(string text, out string reason)
    {
        reason = text.Length == 0 ? "the trust domain is empty"
            : text.Length > MaxTrustDomainBytes
                ? $"a trust domain of {text.Length} bytes is over the limit of {MaxTrustDomainBytes}"
            : text.AsSpan().IndexOfAnyExcept(TrustDomainCharacters) is var at && at >= 0
                ? $"trust domain \"{Shown(text)}\" contains '{Shown(text[at].ToString())}': allowed are a-z 0-9 . - _"
            : "";
        return reason.Length == 0;
    }

    /// <summary>Whether <paramref name="text"/> can be one segment of a path, such as the name of a site or gateway.</summary>
    public static bool IsSegment(ReadOnlySpan<char> text, out string reason)
    {
        reason = text.Length == 0 ? "the path has an empty segment (a doubled or trailing slash)"
            : text is "." or ".." ? $"the path has the segment \"{text}\""
            : text.IndexOfAnyExcept(SegmentCharacters) is var at && at >= 0
                ? $"segment \"{Shown(text.ToString())}\" contains '{Shown(text[at].ToString())}': allowed are a-z A-Z 0-9 . - _"
            : "";
        return reason.Length == 0;
    }

    /// <summary>The gateway that this ID names; null when its path has another shape than <c>/site/S/gateway/G</c>.</summary>
    public GatewayId? AsGateway()
    {
        var parts = Path.Split('/');
        return parts is ["", "site", var site, "gateway", var gateway] ? new GatewayId(TrustDomain, site, gateway) : null;
    }

    /// <summary>The site of the workload that this ID names; null when its path does not begin with <c>/site/S/workload/NAME</c>.</summary>
    public string? WorkloadSite() => Path.Split('/') is ["", "site", var site, "workload", _, ..] ? site : null;

    private static readonly System.Buffers.SearchValues<char> TrustDomainCharacters =
        System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789.-_");

    private static readonly System.Buffers.SearchValues<char> SegmentCharacters =
        System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

    private static bool IsPath(string path, out string reason)
    {
        reason = "";
        if (path.Length == 0)
        {
            return true;
        }

        foreach (var range in path.AsSpan(1).Split('/'))
        {
            if (!IsSegment(path.AsSpan(1)[range], out reason))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>What a stranger sent, fit for a log line: short, and printable ASCII only.</summary>
    internal static string Shown(string? text)
    {
        var cut = text is null ? "" : text.Length > 80 ? text[..80] + "…" : text;
        return string.Concat(cut.Select(c => c is >= ' ' and < (char)127 or '…' ? c.ToString() : $"\\u{(int)c:x4}"));
    }
}
