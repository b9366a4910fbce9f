namespace Fabric.Tunnel;

/// <summary>
/// What a lane through a third gateway goes by on the wire. The gateway that dials asks the relay for <c>fabric.relay/TARGET</c>; the relay
/// opens <c>fabric.relayed/ORIGIN</c> at the target and joins the two; the lane's link is called <c>via:RELAY</c>, which no
/// declared link can be. Names are RFC 1123 labels; whatever else is there is no relay's name.
/// </summary>
public static class RelayNames
{
    private const string AskPrefix = "fabric.relay/";
    private const string HandPrefix = "fabric.relayed/";
    private const int MaxLabel = 63;

    /// <summary>Name of the link of a lane through that gateway.</summary>
    public static string Link(string relay) => StreamOpen.RelayLinkPrefix + relay;

    /// <summary>The gateway that lanes over the link run through; null for a declared link.</summary>
    public static string? RelayOf(string link) => Rest(link, StreamOpen.RelayLinkPrefix);

    /// <summary>What the relay is asked for.</summary>
    public static string Ask(string target) => AskPrefix + target;

    /// <summary>What the target gets from the relay.</summary>
    public static string Hand(string origin) => HandPrefix + origin;

    /// <summary>The gateway that a lane is asked to; null when the stream asks for something else.</summary>
    public static string? TargetOf(StreamOpen open) => open.IsReserved ? Rest(open.Service, AskPrefix) : null;

    /// <summary>The gateway that a lane is handed over from; null when the stream is something else.</summary>
    public static string? OriginOf(StreamOpen open) => open.IsReserved ? Rest(open.Service, HandPrefix) : null;

    private static string? Rest(string text, string prefix) =>
        text.StartsWith(prefix, StringComparison.Ordinal) && IsLabel(text.AsSpan(prefix.Length)) ? text[prefix.Length..] : null;

    private static bool IsLabel(ReadOnlySpan<char> name) => name.Length is > 0 and <= MaxLabel && name[0] != '-' && name[^1] != '-'
        && !name.ContainsAnyExcept("abcdefghijklmnopqrstuvwxyz0123456789-");
}
