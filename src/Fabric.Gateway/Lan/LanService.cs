using System.Collections.Immutable;
using System.Net;

namespace Fabric.Gateway.Lan;

/// <summary>
/// A service that tells of itself on a local network, whole: with a host, a port and at least one address. Strangers said all of it.
/// </summary>
/// <param name="Instance">Its name among those of its type, as it came: any characters.</param>
/// <param name="Type">Such as <c>_http._tcp</c>.</param>
/// <param name="Host">Such as <c>camera-7.local</c>.</param>
/// <param name="Port">1 to 65,535.</param>
/// <param name="Addresses">Of the interface's own networks, none link-local; at most <see cref="LanBrowser.MaxAddresses"/>, IPv4 first, then sorted.</param>
/// <param name="Text">Its TXT strings, at most <see cref="LanBrowser.MaxText"/>.</param>
internal sealed record LanService(
    string Instance, string Type, string Host, int Port, ImmutableArray<IPAddress> Addresses, ImmutableArray<string> Text)
{
    /// <summary>Where it was heard.</summary>
    public string Interface { get; init; } = "";

    /// <summary>The value of a key (RFC 6763 §6.4); null: there is none.</summary>
    public string? this[string key] => Text.FirstOrDefault(t => t.StartsWith(key + "=", StringComparison.OrdinalIgnoreCase))?[(key.Length + 1)..];

    public bool Equals(LanService? other) => other is not null && Instance == other.Instance && Type == other.Type && Host == other.Host
        && Port == other.Port && Interface == other.Interface && Addresses.SequenceEqual(other.Addresses) && Text.SequenceEqual(other.Text);

    public override int GetHashCode() => HashCode.Combine(Instance, Type, Port);
}

/// <summary>What a gateway tells of itself.</summary>
/// <param name="Gateway">Its name: the instance, unless another has it.</param>
/// <param name="Site">For the TXT record.</param>
/// <param name="TrustDomain">For the TXT record.</param>
/// <param name="Port">The gateway port.</param>
internal sealed record LanIdentity(string Gateway, string Site, string TrustDomain, int Port);
