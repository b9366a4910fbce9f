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
            if (!Path.StartsWith("site/", StringComparison.Ordinal))
            {
                return null;
            }

            var end = Path.IndexOf('/', 5);
            return end < 0 ? null : Path[5..end];
        }
    }

    /// <summary>Reads an ID. False for anything that is not canonical: there is one spelling of each ID.</summary>
    public static bool TryParse(string? id, out SpiffePath path)
    {
        path = default;
        if (id is null || id.Length > 2048 || !id.StartsWith(Scheme, StringComparison.Ordinal))
        {
            return false;
        }

        var slash = id.IndexOf('/', Scheme.Length);
        if (slash < 0 || slash == Scheme.Length || slash - Scheme.Length > 255)
        {
            return false;
        }

        var domain = id.AsSpan(Scheme.Length, slash - Scheme.Length);
        var rest = id.AsSpan(slash + 1);
        if (domain.ContainsAnyExcept(DomainCharacters) || !IsCanonical(rest))
        {
            return false;
        }

        path = new SpiffePath(domain.ToString(), rest.ToString());
        return true;
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
