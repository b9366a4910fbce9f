using System.Collections.Immutable;

namespace Fabric.Topology;

/// <summary>
/// Every code that the loader reports. A code never changes its meaning and is never used again; the table in
/// <c>topologies/README.md</c> and the folder <c>topologies/broken</c> are held to this list by tests.
/// </summary>
public static class DiagnosticCodes
{
    // The text of a file.
    public const string YamlSyntax = "FAB0101";
    public const string DuplicateKey = "FAB0102";
    public const string LimitExceeded = "FAB0103";
    public const string UnknownAnchor = "FAB0104";

    // The shape of a file.
    public const string WrongKind = "FAB0105";
    public const string UnknownKey = "FAB0106";
    public const string MissingKey = "FAB0107";
    public const string FormatVersion = "FAB0108";
    public const string GivenTwice = "FAB0109";

    // One value.
    public const string BadName = "FAB0110";
    public const string BadTrustDomain = "FAB0111";
    public const string BadDomain = "FAB0112";
    public const string BadNumber = "FAB0113";
    public const string BadDuration = "FAB0114";
    public const string BadAddress = "FAB0115";
    public const string BadEndpoint = "FAB0116";
    public const string BadRange = "FAB0117";
    public const string BadCapacity = "FAB0118";
    public const string BadChoice = "FAB0119";
    public const string BadPolicyPath = "FAB0120";
    public const string BadPolicyService = "FAB0121";
    public const string BadWireGuardKey = "FAB0122";
    public const string BadHttpPath = "FAB0123";
    public const string BadCount = "FAB0124";
    public const string BadHttpMethod = "FAB0127";
    public const string BadRequestPath = "FAB0128";
    public const string BadUnixUser = "FAB0129";
    public const string BadCgroup = "FAB0145";

    // Values together.
    public const string DuplicateName = "FAB0130";
    public const string UnknownReference = "FAB0131";
    public const string DurationOrder = "FAB0132";
    public const string ListenerClash = "FAB0133";
    public const string AddressClaimedTwice = "FAB0134";
    public const string UnusableServiceAddress = "FAB0135";
    public const string OverlappingAddresses = "FAB0136";
    public const string LinkToItself = "FAB0137";
    public const string NobodyDials = "FAB0138";
    public const string DoesNotApply = "FAB0139";
    public const string OverlayCollision = "FAB0140";
    public const string UnknownServicePort = "FAB0141";
    public const string RangeExhausted = "FAB0142";

    // Warnings.
    public const string UndeclaredWorkload = "FAB0150";
    public const string NobodyMayCall = "FAB0151";
    public const string SiteWithoutLink = "FAB0152";
    public const string MetadataAddress = "FAB0153";

    /// <summary>Code and rule, in order of the codes.</summary>
    public static ImmutableArray<(string Code, string Rule)> All { get; } =
    [
        (YamlSyntax, "A file is one YAML document without syntax errors."),
        (DuplicateKey, "A key stands once in a map."),
        (LimitExceeded, "Size, depth, nodes after alias expansion, objects and errors have limits."),
        (UnknownAnchor, "An alias names an anchor whose value is complete above it."),
        (WrongKind, "A value is of the kind that its key asks for: text, list or map."),
        (UnknownKey, "Only keys of this reference are used."),
        (MissingKey, "Required keys are there."),
        (FormatVersion, "Each file says `fabric: 1`."),
        (GivenTwice, "`trustDomain`, `domain`, `probes`, `dns` and `drills` are given once over all files."),
        (BadName, "Names are RFC 1123 labels: a-z, 0-9 and `-`, at most 63, alphanumeric at both ends."),
        (BadTrustDomain, "A trust domain follows SPIFFE: a-z, 0-9, `.`, `-`, `_`, at most 255 bytes."),
        (BadDomain, "A DNS domain is labels joined by dots; with service and namespace at most 253 characters."),
        (BadNumber, "A number is whole and within its limits."),
        (BadDuration, "A duration is a whole number with `ms`, `s`, `m` or `h`, within its limits."),
        (BadAddress, "An address is an IPv4 or IPv6 address in its usual form, and one that a packet can be sent to."),
        (BadEndpoint, "An endpoint is `address:port`, IPv6 in brackets."),
        (BadRange, "A range is `address/prefix` without host bits, large enough for its use."),
        (BadCapacity, "A capacity is a number with `bit`, `kbit`, `Mbit`, `Gbit` or `Tbit`."),
        (BadChoice, "A choice is one of its words."),
        (BadPolicyPath, "`from` holds SPIFFE paths below the trust domain; `/*` stands only at the end."),
        (BadPolicyService, "`to` holds `name.namespace` or `*.namespace`."),
        (BadWireGuardKey, "A WireGuard public key is 32 bytes in base64."),
        (BadHttpPath, "The path of a health check begins with `/` and has neither spaces nor control characters."),
        (BadCount, "A list has as many entries as it needs, and not more than it may have."),
        (BadHttpMethod, "A method of HTTP is in capitals."),
        (BadRequestPath, "A path of requests begins with `/`, has one reading, and `*` only in `/*` at its end."),
        (BadUnixUser, "A user is a name or a number."),
        (DuplicateName, "Names are unique in their kind."),
        (UnknownReference, "Sites, gateways and services that are referred to exist."),
        (DurationOrder, "A health timeout does not exceed its interval; idle probes are not faster than active ones."),
        (ListenerClash, "Two listeners of one gateway do not share address and port."),
        (AddressClaimedTwice, "Address and port of a link end belong to one gateway."),
        (UnusableServiceAddress, "A fixed service address lies in a site's range, is no network, broadcast or DNS address, "
            + "and belongs to one service."),
        (OverlappingAddresses, "Workloads of a site do not overlap; its service range overlaps neither them nor link ends."),
        (LinkToItself, "The ends of a link are different gateways."),
        (NobodyDials, "At most one end of a link has no address."),
        (DoesNotApply, "A key applies to the type that it stands in."),
        (OverlayCollision, "Overlay addresses, derived from link and gateway names, differ."),
        (UnknownServicePort, "A port that an endpoint or a policy names is a port of its service."),
        (RangeExhausted, "A site's service range has an address for each service."),
        (BadCgroup, "A cgroup is a path from the root of cgroups, below it."),
        (UndeclaredWorkload, "Warning: a policy names a workload that is not declared in its site."),
        (NobodyMayCall, "Warning: no policy allows anyone to call this service."),
        (SiteWithoutLink, "Warning: of several sites, this one has no link."),
        (MetadataAddress, "Warning: an endpoint or a link end is where a cloud gives out a host's credentials."),
    ];
}
