using System.Collections.Immutable;
using System.Net;
using Fabric.Overlay.Keys;

namespace Fabric.Overlay.Devices;

/// <summary>What to change of an interface; null: leave as it is.</summary>
internal sealed record DeviceChange(WireGuardKey? PrivateKey, int? ListenPort, ImmutableArray<PeerChange> Peers)
{
    public bool IsEmpty => PrivateKey is null && ListenPort is null && Peers.IsEmpty;

    /// <summary>
    /// The differences from what the interface is to what it should be. Removals come first, so that a range that moves between
    /// peers is never taken from its new owner.
    /// </summary>
    /// <param name="desired">What it should be.</param>
    /// <param name="applied">What was applied last by this process; null: nothing yet, as after an adoption.</param>
    /// <param name="actual">What it is.</param>
    public static DeviceChange Between(DeviceConfig desired, DeviceConfig? applied, DeviceStatus actual)
    {
        var wanted = desired.Peers.ToDictionary(p => p.PublicKey);
        var present = actual.Peers.ToDictionary(p => p.PublicKey);
        var before = applied?.Peers.ToDictionary(p => p.PublicKey) ?? [];
        var peers = ImmutableArray.CreateBuilder<PeerChange>();
        peers.AddRange(actual.Peers.Where(p => !wanted.ContainsKey(p.PublicKey))
            .Select(p => new PeerChange(p.PublicKey) { Remove = true }));
        foreach (var peer in desired.Peers)
        {
            var change = present.TryGetValue(peer.PublicKey, out var now)
                ? Update(peer, before.GetValueOrDefault(peer.PublicKey), now)
                : Add(peer);
            if (change is not null)
            {
                peers.Add(change);
            }
        }

        return new(desired.PrivateKey.PublicKey.Equals(actual.PublicKey) ? null : desired.PrivateKey,
            desired.ListenPort == 0 || desired.ListenPort == actual.ListenPort ? null : desired.ListenPort, peers.ToImmutable());
    }

    private static PeerChange Add(WireGuardPeer peer) => new(peer.PublicKey)
    {
        Add = true,
        Endpoint = peer.Endpoint,
        Keepalive = peer.Keepalive,
        ReplaceAllowedIps = true,
        AllowedIps = peer.AllowedIps,
    };

    private static PeerChange? Update(WireGuardPeer peer, WireGuardPeer? before, PeerStatus now)
    {
        // Ranges only added are added alone: a replacement has an instant in which none is there.
        var missing = peer.AllowedIps.Except(now.AllowedIps).ToImmutableArray();
        var replace = now.AllowedIps.Except(peer.AllowedIps).Any();
        var keepalive = (peer.Keepalive ?? TimeSpan.Zero) == (now.Keepalive ?? TimeSpan.Zero) ? (TimeSpan?)null
            : peer.Keepalive ?? TimeSpan.Zero;

        // What we set before and did not change since may have moved by roaming: WireGuard knows better.
        var endpoint = peer.Endpoint is null || Same(peer.Endpoint, before?.Endpoint) || Same(peer.Endpoint, now.Endpoint)
            ? null
            : peer.Endpoint;
        return missing.IsEmpty && !replace && keepalive is null && endpoint is null ? null : new(peer.PublicKey)
        {
            Endpoint = endpoint,
            Keepalive = keepalive,
            ReplaceAllowedIps = replace,
            AllowedIps = replace ? peer.AllowedIps : missing,
        };
    }

    private static bool Same(IPEndPoint a, IPEndPoint? b) => b is not null && a.Port == b.Port && Plain(a).Equals(Plain(b));

    internal static IPAddress Plain(IPEndPoint endpoint) =>
        endpoint.Address.IsIPv4MappedToIPv6 ? endpoint.Address.MapToIPv4() : endpoint.Address;
}

/// <summary>What to change of a peer; a peer that is only updated is never created by the change.</summary>
internal sealed record PeerChange(WireGuardPublicKey PublicKey)
{
    public bool Remove { get; init; }
    public bool Add { get; init; }
    public IPEndPoint? Endpoint { get; init; }

    /// <summary>Zero: off. Null: as it is.</summary>
    public TimeSpan? Keepalive { get; init; }

    /// <summary>Whether <see cref="AllowedIps"/> is the whole list, or only what is added.</summary>
    public bool ReplaceAllowedIps { get; init; }
    public ImmutableArray<IPNetwork> AllowedIps { get; init; } = [];
}
