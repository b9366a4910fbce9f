using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Svid;

/// <summary>
/// What a CA certificate says it may sign. The site stands in its subject, as the organizational unit <c>site:NAME</c>, and not in
/// its SPIFFE ID: that of a CA has no path (SPIFFE X509-SVID §3.2). A CA that names no site signs for all of them: the root,
/// and intermediates of other software.
/// </summary>
internal static class IssuerNames
{
    private const string Unit = "2.5.4.11";
    private const string Prefix = "site:";

    public static string UnitOf(string site) => Prefix + site;

    /// <summary>
    /// The site that the certificate is held to, or null for none. False with the reason when it names one in a way that could be
    /// read in two: then it may sign nothing.
    /// </summary>
    public static bool TrySite(X509Certificate2 authority, out string? site, out string reason)
    {
        (site, reason) = (null, "");
        foreach (var part in authority.SubjectName.EnumerateRelativeDistinguishedNames())
        {
            if (part.HasMultipleElements)
            {
                reason = "its subject has a name of several values";
                return false;
            }

            if (part.GetSingleElementType().Value != Unit || part.GetSingleElementValue() is not { } unit
                || !unit.TrimStart().StartsWith(Prefix, StringComparison.OrdinalIgnoreCase))
            {
                continue;
            }

            if (site is not null || !unit.StartsWith(Prefix, StringComparison.Ordinal) || !SpiffeId.IsSegment(unit.AsSpan(Prefix.Length), out _))
            {
                reason = site is not null ? "its subject names two sites" : $"its subject has the unit \"{SpiffeId.Shown(unit)}\", which is no {Prefix}NAME";
                return false;
            }

            site = unit[Prefix.Length..];
        }

        return true;
    }
}
