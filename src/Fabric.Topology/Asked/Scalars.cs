using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Fabric.Topology.Asked;

/// <summary>The texts of the format. Where a pattern decides, the reader and the schema use the same one.</summary>
internal static partial class Scalars
{
    private const string LabelPattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    private const string DurationPattern = "^[0-9]{1,9}(ms|s|m|h)$";
    private const string CapacityPattern = "^[0-9]{1,9}(\\.[0-9]{1,9})?(k|M|G|T)?bit$";
    private const string PathPattern = "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*(/\\*)?$";
    private const string ServicePattern = "^(\\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    private const string SiteOrGatewayPattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$";
    private const string TrustDomainPattern = "^[a-z0-9._-]{1,255}$";
    private const string DomainPattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$";
    private const string HttpPathPattern = "^/[!-~]{0,1023}$";

    private const string UnixUserPattern = "^([a-z_][a-z0-9._-]{0,31}|[0-9]{1,9})$";
    private const string CgroupPattern = "^(/[A-Za-z0-9:_.@\\\\-]+)+$";
    private const string MethodPattern = "^[A-Z][A-Z-]{0,31}$";

    // Only for the schema, and wider than the rule: addresses are read by a parser.
    private const string AddressPattern = "^[0-9A-Fa-f:.]{2,45}$";
    private const string EndpointPattern = "^([0-9.]{7,15}|\\[[0-9A-Fa-f:.]{2,45}\\]):[0-9]{1,5}$";
    private const string RequestPathPattern = "^/[!-~]{0,1023}$";
    private const string RangePattern = "^[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}$";

    /// <summary>SPIFFE ID: at most 2,048 bytes with scheme and trust domain.</summary>
    private const int MaxPolicyPath = 2_048 - 255 - 10;

    /// <summary>RFC 1123 label. An invalid one is still used as a name, so that what refers to it is not reported too.</summary>
    public static ScalarShape<string> Label { get; } = new(DiagnosticCodes.BadName, Pattern(LabelPattern), text =>
        LabelRegex().IsMatch(text) ? Ok(text)
        : new Parsed<string>(true, text, "is not a name: a-z, 0-9 and '-', at most 63 characters, a letter or digit at both ends",
            LabelRegex().IsMatch(text.ToLowerInvariant()) ? $"did you mean {Words.Quote(text.ToLowerInvariant())}?" : null));

    public static ScalarShape<string> TrustDomain { get; } = new(
        DiagnosticCodes.BadTrustDomain, Pattern(TrustDomainPattern), text =>
        TrustDomainRegex().IsMatch(text) ? Ok(text)
        : new Parsed<string>(true, text, "is not a SPIFFE trust domain: a-z, 0-9, '.', '-' and '_', at most 255 bytes",
            text.StartsWith("spiffe://", StringComparison.Ordinal) ? "leave out spiffe://"
            : TrustDomainRegex().IsMatch(text.ToLowerInvariant()) ? $"did you mean {Words.Quote(text.ToLowerInvariant())}?"
            : null));

    public static ScalarShape<string> Domain { get; } = new(DiagnosticCodes.BadDomain, Pattern(DomainPattern), text =>
        text.Length <= 253 && DomainRegex().IsMatch(text) ? Ok(text)
        : Bad<string>("is not a domain name: labels of a-z, 0-9 and '-', joined by dots, at most 253 characters",
            text.EndsWith('.') ? "leave out the dot at the end" : null));

    public static ScalarShape<int> Port { get; } = Number(1, 65_535);

    public static ScalarShape<int> FormatVersion { get; } = new(
        DiagnosticCodes.FormatVersion, new JsonObject { ["type"] = "integer", ["const"] = 1 }, text =>
        text == "1" ? Ok(1) : Bad<int>("is not a version that this program reads: it reads 1"));

    public static ScalarShape<long> Capacity { get; } = new(DiagnosticCodes.BadCapacity, Pattern(CapacityPattern), ParseCapacity);

    public static ScalarShape<IPAddress> ListenAddress { get; } = new(
        DiagnosticCodes.BadAddress, Pattern(AddressPattern), text => ParseAddress(text, listening: true));

    public static ScalarShape<IPAddress> UnicastAddress { get; } = new(
        DiagnosticCodes.BadAddress, Pattern(AddressPattern), text => ParseAddress(text, listening: false));

    /// <summary>Usable without a value when it is refused, so that the end is not taken for one without an address.</summary>
    public static ScalarShape<IPAddress?> EndAddress { get; } = new(DiagnosticCodes.BadAddress, Pattern(AddressPattern), text =>
    {
        Parsed<IPAddress> parsed = ParseAddress(text, listening: false);
        return new Parsed<IPAddress?>(true, parsed.Usable ? parsed.Value : null, parsed.Problem, parsed.Hint);
    });

    public static ScalarShape<IPEndPoint> Listener { get; } = new(
        DiagnosticCodes.BadEndpoint, Pattern(EndpointPattern), text => ParseEndpoint(text, listening: true));

    public static ScalarShape<IPEndPoint?> ListenerOrOff { get; } = new(DiagnosticCodes.BadEndpoint, EndpointOrOff(), text =>
    {
        if (text == "off")
        {
            return new Parsed<IPEndPoint?>(true, null);
        }

        Parsed<IPEndPoint> parsed = ParseEndpoint(text, listening: true);
        string? problem = parsed.Problem is { } p ? p + ", nor 'off'" : null;
        return new Parsed<IPEndPoint?>(parsed.Usable, parsed.Value, problem, parsed.Hint);
    });

    public static ScalarShape<IPEndPoint> Endpoint { get; } = new(
        DiagnosticCodes.BadEndpoint, Pattern(EndpointPattern), text => ParseEndpoint(text, listening: false));

    public static ScalarShape<IPNetwork> Range { get; } = new(DiagnosticCodes.BadRange, Pattern(RangePattern), ParseRange);

    /// <summary>A range of unicast addresses with at least two besides its first and last.</summary>
    public static ScalarShape<IPNetwork> ServiceRange { get; } = new(DiagnosticCodes.BadRange, Pattern(RangePattern), text =>
    {
        Parsed<IPNetwork> parsed = ParseRange(text);
        if (!parsed.Usable)
        {
            return parsed;
        }

        int bits = Ip.IsV6(parsed.Value.BaseAddress) ? 128 : 32;
        return bits - parsed.Value.PrefixLength < 2
            ? Bad<IPNetwork>($"is too small for service addresses: the prefix is at most /{bits - 2}")
            : Ip.IsUnicast(parsed.Value.BaseAddress) && Ip.IsUnicast(Ip.Last(parsed.Value)) && parsed.Value.PrefixLength >= 4
                ? parsed
                : Bad<IPNetwork>("is not a range of unicast addresses", "take one from 127.64.0.0/10 or a private range");
    });

    public static ScalarShape<ImmutableArray<byte>> WireGuardKey { get; } = new(
        DiagnosticCodes.BadWireGuardKey, Pattern("^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"), text =>
        {
            var key = new byte[32];
            return text.Length == 44 && Convert.TryFromBase64String(text, key, out int written) && written == 32
                ? Ok(ImmutableArray.Create(key)) : Bad<ImmutableArray<byte>>("is not a WireGuard public key: 32 bytes in base64",
                    "wg pubkey prints it");
        });

    public static ScalarShape<string> HttpPath { get; } = new(DiagnosticCodes.BadHttpPath, Pattern(HttpPathPattern), text =>
        HttpPathRegex().IsMatch(text) ? Ok(text)
        : Bad<string>("is not a path: it begins with '/' and has neither spaces nor control characters",
            !text.StartsWith('/') && HttpPathRegex().IsMatch("/" + text) ? $"did you mean {Words.Quote("/" + text)}?" : null));

    public static ScalarShape<string> UnixUser { get; } = new(DiagnosticCodes.BadUnixUser, Pattern(UnixUserPattern), text =>
        UnixUserRegex().IsMatch(text) ? Ok(text)
        : new Parsed<string>(true, text, "is not a user: a name of a-z, 0-9, '.', '_' and '-', at most 32, or a number"));

    public static ScalarShape<string> Cgroup { get; } = new(DiagnosticCodes.BadCgroup, Pattern(CgroupPattern), text =>
        text.Length <= 1024 && CgroupRegex().IsMatch(text) && !text.Split('/').Any(s => s is "." or "..")
            && !text.StartsWith("/sys/fs/cgroup/", StringComparison.Ordinal) ? Ok(text)
        : new Parsed<string>(true, text, "is not the path of a cgroup: it begins with '/', as the third field of /proc/PID/cgroup does, "
            + "names one below the root, and has no '.' or '..'", CgroupHint(text)));

    public static ScalarShape<string> HttpMethod { get; } = new(DiagnosticCodes.BadHttpMethod, Pattern(MethodPattern), text =>
        MethodRegex().IsMatch(text) ? Ok(text)
        : Bad<string>("is not a method of HTTP: capitals and '-', at most 32",
            MethodRegex().IsMatch(text.ToUpperInvariant()) ? $"did you mean {Words.Quote(text.ToUpperInvariant())}?"
            : text == "*" ? "leave methods out for all of them" : null));

    /// <summary>Given in the one spelling that requests are compared by.</summary>
    public static ScalarShape<string> RequestPath { get; } = new(
        DiagnosticCodes.BadRequestPath, Pattern(RequestPathPattern), ParseRequestPath);

    public static ScalarShape<string> PolicyPath { get; } = new(DiagnosticCodes.BadPolicyPath, Pattern(PathPattern), text =>
        text.Length <= MaxPolicyPath && PathRegex().IsMatch(text) && !text.Split('/').Any(s => s is "." or "..") ? Ok(text)
        : Bad<string>("is not a SPIFFE path: segments of letters, digits, '.', '-' and '_', none empty, '.' or '..', "
            + "with '/*' only at the end", PathHint(text)));

    public static ScalarShape<string> PolicyService { get; } = new(
        DiagnosticCodes.BadPolicyService, Pattern(ServicePattern), text =>
        ServiceRegex().IsMatch(text) ? Ok(text)
        : Bad<string>("is not a service: name.namespace, or *.namespace for all of a namespace",
            text.Count(c => c == '.') > 1 ? "leave out the domain" : null));

    public static ScalarShape<string> SiteOrGateway { get; } = new(
        DiagnosticCodes.BadName, Pattern(SiteOrGatewayPattern), text => SiteOrGatewayRegex().IsMatch(text) ? Ok(text)
        : Bad<string>("is neither a site nor a gateway: write site, or site/gateway, of a-z, 0-9 and '-'"));

    public static ScalarShape<int> Number(int min, int max) => new(
        DiagnosticCodes.BadNumber, new JsonObject { ["type"] = "integer", ["minimum"] = min, ["maximum"] = max }, text =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= min && number <= max
            ? Ok(number) : Bad<int>($"is not a whole number from {min} to {max}"));

    /// <summary>Whole milliseconds, seconds, minutes or hours.</summary>
    public static ScalarShape<TimeSpan> Duration(int minMs, int maxMs) => new(
        DiagnosticCodes.BadDuration, Pattern(DurationPattern), text => ParseDuration(text, minMs, maxMs));

    public static ScalarShape<T> Choice<T>(params (string Word, T Value)[] choices) => new(
        DiagnosticCodes.BadChoice,
        new JsonObject { ["type"] = "string", ["enum"] = new JsonArray([.. choices.Select(c => (JsonNode)c.Word)]) }, text =>
        {
            foreach ((string word, T value) in choices)
            {
                if (word == text)
                {
                    return Ok(value);
                }
            }

            // The words stand in the message: only a near one is worth a hint.
            string? hint = Words.DidYouMean(text, choices.Select(c => c.Word));
            return Bad<T>($"is not one of {string.Join(", ", choices.Select(c => c.Word))}",
                hint?.StartsWith("did", StringComparison.Ordinal) == true ? hint : null);
        });

    public static ScalarShape<bool> Flag { get; } = new(
        DiagnosticCodes.BadChoice, new JsonObject { ["type"] = "boolean" }, text => text switch
        {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Bad<bool>("is not one of true, false"),
        });

    private static Parsed<TimeSpan> ParseDuration(string text, int minMs, int maxMs)
    {
        if (!DurationRegex().IsMatch(text))
        {
            return Bad<TimeSpan>("is not a duration: a whole number with ms, s, m or h",
                text.Length is > 0 and < 10 && text.All(char.IsAsciiDigit) ? $"did you mean '{text}ms' or '{text}s'?" : null);
        }

        int unitAt = text.IndexOfAny(['m', 's', 'h']);
        long scale = text[unitAt..] switch { "ms" => 1, "s" => 1_000, "m" => 60_000, _ => 3_600_000 };
        long milliseconds = long.Parse(text.AsSpan(0, unitAt), CultureInfo.InvariantCulture) * scale;
        return milliseconds >= minMs && milliseconds <= maxMs ? Ok(TimeSpan.FromMilliseconds(milliseconds))
            : Bad<TimeSpan>($"is not between {Print(TimeSpan.FromMilliseconds(minMs))} "
                + $"and {Print(TimeSpan.FromMilliseconds(maxMs))}");
    }

    /// <summary>As it would be written in a file: the largest unit that makes it whole.</summary>
    public static string Print(TimeSpan duration)
    {
        long ms = (long)duration.TotalMilliseconds;
        return ms == 0 ? "0s" : ms % 3_600_000 == 0 ? $"{ms / 3_600_000}h" : ms % 60_000 == 0 ? $"{ms / 60_000}m"
            : ms % 1_000 == 0 ? $"{ms / 1_000}s" : $"{ms}ms";
    }

    private static Parsed<long> ParseCapacity(string text)
    {
        const string Problem = "is not a capacity: a number with bit, kbit, Mbit, Gbit or Tbit, from 1kbit to 100Tbit";
        if (!CapacityRegex().IsMatch(text))
        {
            return Bad<long>(Problem, text.Length is > 0 and < 10 && text.All(char.IsAsciiDigit)
                ? $"did you mean '{text}Mbit'?" : null);
        }

        int unitAt = text.AsSpan().IndexOfAnyExcept("0123456789.");
        decimal scale = text[unitAt] switch { 'k' => 1e3m, 'M' => 1e6m, 'G' => 1e9m, 'T' => 1e12m, _ => 1 };
        decimal number = decimal.Parse(text.AsSpan(0, unitAt), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture);
        decimal bits = number * scale;
        return bits is >= 1e3m and <= 100e12m ? Ok((long)bits) : Bad<long>(Problem);
    }

    private static Parsed<IPAddress> ParseAddress(string text, bool listening)
    {
        if (!Ip.TryParse(text, out IPAddress? address, out string? hint))
        {
            return Bad<IPAddress>("is not an IPv4 or IPv6 address", hint);
        }

        return Ip.IsUnicast(address) || (listening && Ip.IsAny(address)) ? Ok(address)
            : Bad<IPAddress>(listening ? "is not an address to listen on" : "is not an address that one host has",
                Ip.IsAny(address) ? "give the address that others reach" : null);
    }

    private static Parsed<IPEndPoint> ParseEndpoint(string text, bool listening)
    {
        const string Problem = "is not address:port";
        int colon = text.LastIndexOf(':');
        string host = colon < 0 ? text : text[..colon];
        if (Ip.TryParse(text, out _, out _))
        {
            return Bad<IPEndPoint>(Problem, text.Contains(':') ? "write IPv6 as [address]:port" : $"write {text}:PORT");
        }

        bool bracketed = host.StartsWith('[') && host.EndsWith(']') && host.Length > 2;
        string? hint = null;
        if (colon < 0 || !Ip.TryParse(bracketed ? host[1..^1] : host, out IPAddress? address, out hint)
            || bracketed != Ip.IsV6(address))
        {
            return Bad<IPEndPoint>(Problem, hint);
        }

        return !int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port)
            || port is < 1 or > 65_535
            ? Bad<IPEndPoint>(Problem, "the port is a whole number from 1 to 65535")
            : Ip.IsUnicast(address) || (listening && Ip.IsAny(address)) ? Ok(new IPEndPoint(address, port))
            : Bad<IPEndPoint>("is not at an address that one host has");
    }

    private static Parsed<IPNetwork> ParseRange(string text)
    {
        const string Problem = "is not a range: address/prefix";
        int slash = text.IndexOf('/');
        if (!Ip.TryParse(slash < 0 ? text : text[..slash], out IPAddress? address, out string? hint))
        {
            return Bad<IPNetwork>(Problem, hint);
        }

        int bits = Ip.IsV6(address) ? 128 : 32;
        if (slash < 0)
        {
            return Bad<IPNetwork>(Problem, $"did you mean {text}/{bits}?");
        }

        if (!int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int prefix)
            || prefix > bits)
        {
            return Bad<IPNetwork>(Problem, $"the prefix is a whole number from 0 to {bits}");
        }

        IPAddress first = Ip.First(address, prefix);
        return first.Equals(address) ? Ok(new IPNetwork(address, prefix))
            : Bad<IPNetwork>($"is not a range: it has bits set after its prefix of {prefix}", $"did you mean {first}/{prefix}?");
    }

    private static Parsed<string> ParseRequestPath(string text)
    {
        const string Rule = "is not a path of requests: it ";
        bool below = text.EndsWith("/*", StringComparison.Ordinal);
        string path = below ? text[..^2] : text;
        if (text.Length > 1024 || path.AsSpan().ContainsAny('*', '?'))
        {
            return Bad<string>(Rule + (text.Length > 1024 ? "is longer than 1024 characters" : "has a '*' that is not '/*' at the end, or a '?'"),
                path.Contains('?') ? "queries are not compared: leave it out" : null);
        }

        if (below && path.Length == 0)
        {
            return Ok(text);
        }

        if (!Topology.RequestPath.TryRead(System.Text.Encoding.UTF8.GetBytes(path), out string? read, out string problem))
        {
            return Bad<string>(Rule + problem, !text.StartsWith('/') ? $"did you mean {Words.Quote("/" + text)}?" : null);
        }

        return below && read.EndsWith('/') ? Bad<string>(Rule + "has two slashes in a row") : Ok(below ? read + "/*" : read);
    }

    private static string? CgroupHint(string text)
    {
        const string Mount = "/sys/fs/cgroup";
        return text.StartsWith(Mount + "/", StringComparison.Ordinal) && !text.Contains("/.", StringComparison.Ordinal)
            ? $"did you mean {Words.Quote(text[Mount.Length..])}?" : null;
    }

    private static string? PathHint(string text) =>
        text.StartsWith("spiffe://", StringComparison.Ordinal) ? "leave out spiffe:// and the trust domain"
        : text.StartsWith('/') ? "leave out the '/' at the beginning"
        : text.EndsWith('/') ? "leave out the '/' at the end"
        : text == "*" ? "site/* covers every site" : null;

    private static Parsed<T> Ok<T>(T value) => new(true, value);

    private static Parsed<T> Bad<T>(string problem, string? hint = null) => new(false, default!, problem, hint);

    /// <summary>Editors that read YAML 1.1 take <c>off</c> for false.</summary>
    private static JsonObject EndpointOrOff() => new()
    {
        ["anyOf"] = new JsonArray(
            new JsonObject { ["enum"] = new JsonArray("off", false) }, Pattern(EndpointPattern)),
    };

    private static JsonObject Pattern(string pattern) => new() { ["type"] = "string", ["pattern"] = pattern };

    // \z, not $: in .NET, $ also matches before a last line feed.
    [GeneratedRegex(LabelPattern + "(?<!\n)\\z")]
    private static partial Regex LabelRegex();

    [GeneratedRegex(DurationPattern + "(?<!\n)\\z")]
    private static partial Regex DurationRegex();

    [GeneratedRegex(CapacityPattern + "(?<!\n)\\z")]
    private static partial Regex CapacityRegex();

    [GeneratedRegex(PathPattern + "(?<!\n)\\z")]
    private static partial Regex PathRegex();

    [GeneratedRegex(ServicePattern + "(?<!\n)\\z")]
    private static partial Regex ServiceRegex();

    [GeneratedRegex(SiteOrGatewayPattern + "(?<!\n)\\z")]
    private static partial Regex SiteOrGatewayRegex();

    [GeneratedRegex(TrustDomainPattern + "(?<!\n)\\z")]
    private static partial Regex TrustDomainRegex();

    [GeneratedRegex(DomainPattern + "(?<!\n)\\z")]
    private static partial Regex DomainRegex();

    [GeneratedRegex(HttpPathPattern + "(?<!\n)\\z")]
    private static partial Regex HttpPathRegex();

    [GeneratedRegex(UnixUserPattern + "(?<!\n)\\z")]
    private static partial Regex UnixUserRegex();

    [GeneratedRegex(CgroupPattern + "(?<!\n)\\z")]
    private static partial Regex CgroupRegex();

    [GeneratedRegex(MethodPattern + "(?<!\n)\\z")]
    private static partial Regex MethodRegex();
}
