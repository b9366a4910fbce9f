namespace Fabric.Routing.Policies;

/// <summary>A SPIFFE ID taken apart: <c>spiffe://trust-domain/segment/…</c>, checked as the SPIFFE standard says.</summary>
public readonly record struct SpiffePath(string TrustDomain, string Path)
{
    private const string Scheme = "spiffe://";

    /// <summary>The site that a Fabric ID belongs to (<c>site/&lt;site&gt;/…</c>), or null for other paths.</summary>
    public string? Site
    {
        get
        {
            var site = SiteOf(Path);
            return site.IsEmpty ? null : site.ToString();
        }
    }

    /// <summary>Reads an ID. False for anything that is not canonical: there is one spelling of each ID.</summary>
    public static bool TryParse(string? id, out SpiffePath path)
    {
        var isOne = TrySplit(id, out var domain, out var rest);
        path = isOne ? new SpiffePath(domain.ToString(), rest.ToString()) : default;
        return isOne;
    }

    /// <summary>As <see cref="TryParse"/>, without a copy.</summary>
    internal static bool TrySplit(string? id, out ReadOnlySpan<char> domain, out ReadOnlySpan<char> path)
    {
        domain = path = default;
        if (id is null || id.Length > 2048 || !id.StartsWith(Scheme, StringComparison.Ordinal))
        {
            return false;
        }

        var slash = id.IndexOf('/', Scheme.Length);
        if (slash < 0 || slash == Scheme.Length || slash - Scheme.Length > 255)
        {
            return false;
        }

        domain = id.AsSpan(Scheme.Length, slash - Scheme.Length);
        path = id.AsSpan(slash + 1);
        return !domain.ContainsAnyExcept(DomainCharacters) && IsCanonical(path);
    }

    /// <summary>The site that a path belongs to (<c>site/&lt;site&gt;/…</c>); empty for other paths.</summary>
    internal static ReadOnlySpan<char> SiteOf(ReadOnlySpan<char> path)
    {
        const string sites = "site/";
        if (!path.StartsWith(sites))
        {
            return default;
        }

        var rest = path[sites.Length..];
        return rest[..Math.Max(0, rest.IndexOf('/'))];
    }

    /// <summary>Whether it is one or more segments of <c>[a-zA-Z0-9._-]</c>, none empty, <c>.</c> or <c>..</c>.</summary>
    public static bool IsCanonical(ReadOnlySpan<char> path)
    {
        if (path.IsEmpty)
        {
            return false;
        }

        foreach (var range in path.Split('/'))
        {
            var segment = path[range];
            if (segment.IsEmpty || segment is "." or ".." || segment.ContainsAnyExcept(SegmentCharacters))
            {
                return false;
            }
        }

        return true;
    }

    private static readonly System.Buffers.SearchValues<char> DomainCharacters =
        System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789.-_");

    private static readonly System.Buffers.SearchValues<char> SegmentCharacters =
        System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_");

    public override string ToString() => $"{Scheme}{TrustDomain}/{Path}";
}
