namespace Fabric.Identity.Sources;

/// <summary>The source that the operator chose, from the text of the daemon's option <c>--identity</c>.</summary>
public static class IdentitySources
{
    /// <summary>Stands for the mesh's own authority.</summary>
    public const string Embedded = "embedded";

    /// <summary>Stands for the Workload API whose socket the environment names.</summary>
    public const string Spiffe = "spiffe";

    private const string Forms = "embedded, files:DIR, files:CERT,KEY,BUNDLE, vault:FILE or spiffe:SOCKET";

    /// <summary>
    /// Nothing is asked yet. Throws <see cref="InvalidDataException"/>, with value and rule, for a bad option or bad settings, and
    /// <see cref="IOException"/> when the settings cannot be read.
    /// </summary>
    /// <param name="option">
    /// <c>embedded</c>; <c>files:DIR</c>, which stands for <c>tls.crt</c>, <c>tls.key</c> and <c>ca.crt</c> in it, as Kubernetes names
    /// them, or <c>files:CERT,KEY,BUNDLE</c>; <c>vault:FILE</c> (see <see cref="VaultSettings"/>); <c>spiffe:SOCKET</c>.
    /// </param>
    /// <param name="folder">Where <c>fabric join</c> leaves the identity. What Vault signs is kept in <c>FOLDER-vault</c>.</param>
    /// <param name="keep">False: nothing is written there, for those who only look.</param>
    /// <param name="dial">Opens a plain connection to <c>host:port</c> or <c>unix:/path</c>.</param>
    /// <param name="caFolder">Folder of the mesh CA; null where this host keeps none.</param>
    public static IIdentitySource Open(string option, string folder, bool keep,
        Func<string, CancellationToken, Task<Stream>> dial, string? caFolder, TimeProvider time)
    {
        var colon = option.IndexOf(':');
        var (kind, place) = colon < 0 ? (option, "") : (option[..colon], option[(colon + 1)..]);
        return (kind, place) switch
        {
            (Embedded, "") when colon < 0 => new EmbeddedSource(new GatewayKeyStore(folder), dial, caFolder, time),
            ("files", not "") => Files(place, time),
            ("vault", not "") => new VaultSource(VaultSettings.Read(place), new GatewayKeyStore(folder + "-vault"), keep, dial, time),
            (Spiffe, not "") => new WorkloadSource(place, dial, time),
            (Spiffe, "") => throw new InvalidDataException(
                "identity 'spiffe' has no socket: write spiffe:unix:///path, or set SPIFFE_ENDPOINT_SOCKET"),
            _ => throw new InvalidDataException($"identity '{option}' is none of {Forms}"),
        };
    }

    private static FileSource Files(string place, TimeProvider time) => place.Split(',') switch
    {
        [var folder] => new FileSource(
            Path.Combine(folder, "tls.crt"), Path.Combine(folder, "tls.key"), Path.Combine(folder, "ca.crt"), time),
        [{ Length: > 0 } certificate, { Length: > 0 } key, { Length: > 0 } bundle] => new FileSource(certificate, key, bundle, time),
        var parts => throw new InvalidDataException(
            $"identity 'files:{place}' names {parts.Length} paths: one folder, or certificate, key and bundle with commas between"),
    };
}
