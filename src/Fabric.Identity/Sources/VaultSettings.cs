using System.Text.Json;
using System.Text.Json.Serialization;
using Fabric.Identity.Storage;

namespace Fabric.Identity.Sources;

/// <summary>
/// How a gateway reaches Vault's PKI engine: a JSON file, comments allowed, no field beside these. Paths in it are relative to its
/// folder. It holds no secret: the token is in a file of its own.
/// </summary>
public sealed record VaultSettings
{
    /// <summary><c>https://host:port</c>, without a path; never plain http, which would show the token.</summary>
    public required string Address { get; init; }

    /// <summary>Path of the engine. Default <c>pki</c>.</summary>
    public string Mount { get; init; } = "pki";

    /// <summary>Role that signs gateways.</summary>
    public required string Role { get; init; }

    /// <summary>Who this gateway is: <c>spiffe://TRUST-DOMAIN/site/SITE/gateway/NAME</c>.</summary>
    public required string Id { get; init; }

    /// <summary>File with the token, kept fresh by somebody else, such as Vault Agent; read for each request. Mode as for a key.</summary>
    public required string TokenFile { get; init; }

    /// <summary>PEM of the CA that Vault's own TLS certificate is from. Default: those that the system trusts.</summary>
    public string? CaFile { get; init; }

    /// <summary>PEM of the mesh's roots. Default: the roots that Vault sends in <c>ca_chain</c>.</summary>
    public string? BundleFile { get; init; }

    /// <summary>Life to ask for, as Vault writes it. Default <c>24h</c>; the role may give less.</summary>
    public string Ttl { get; init; } = "24h";

    internal GatewayId Gateway { get; private init; }

    /// <summary>
    /// Throws <see cref="IOException"/> when the file cannot be read, and <see cref="InvalidDataException"/>, with value and rule, when
    /// it is not good.
    /// </summary>
    public static VaultSettings Read(string path)
    {
        try
        {
            var read = JsonSerializer.Deserialize<VaultSettings>(SafeFile.ReadForeign(path, secret: false), Strict)
                ?? throw new InvalidDataException("it is empty");
            return read.Checked(Path.GetDirectoryName(Path.GetFullPath(path))!);
        }
        catch (Exception e) when (e is JsonException or InvalidDataException)
        {
            throw new InvalidDataException($"{path}: {e.Message}", e);
        }
    }

    private static readonly JsonSerializerOptions Strict = new(JsonSerializerDefaults.Web)
    {
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
    };

    private VaultSettings Checked(string folder)
    {
        if (!Uri.TryCreate(Address, UriKind.Absolute, out var uri) || uri.Scheme != Uri.UriSchemeHttps || uri.PathAndQuery != "/"
            || uri.UserInfo.Length > 0)
        {
            throw new InvalidDataException($"address '{Address}' is not https://host:port (a path such as /v1 is added here)");
        }

        CheckPath("mount", Mount);
        CheckPath("role", Role);
        if (Ttl.Length is 0 or > 16 || !Ttl.All(char.IsAsciiLetterOrDigit))
        {
            throw new InvalidDataException($"ttl '{Ttl}' is not a duration as Vault writes it, such as 24h or 90m");
        }

        if (!SpiffeId.TryParse(Id, out var id, out var reason))
        {
            throw new InvalidDataException($"id: {reason}");
        }

        return this with
        {
            Gateway = id.AsGateway()
                ?? throw new InvalidDataException($"id '{Id}' names no gateway: its path must be /site/<site>/gateway/<name>"),
            TokenFile = Path.Combine(folder, TokenFile),
            CaFile = CaFile is null ? null : Path.Combine(folder, CaFile),
            BundleFile = BundleFile is null ? null : Path.Combine(folder, BundleFile),
        };
    }

    private static void CheckPath(string what, string path)
    {
        foreach (var segment in path.Split('/'))
        {
            if (!SpiffeId.IsSegment(segment, out var reason))
            {
                throw new InvalidDataException($"{what} '{path}': {reason}");
            }
        }
    }
}
