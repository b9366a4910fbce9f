using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fabric.Overlay.Devices;
using Fabric.Overlay.Keys;
using Fabric.Overlay.Netlink;

namespace Fabric.Overlay.Kernel;

/// <summary>Messages of WireGuard's generic netlink family: built and parsed, no I/O. Numbers: linux/wireguard.h.</summary>
internal static class WireGuardMessages
{
    /// <summary>
    /// A change larger than this goes out in several messages; the kernel's socket buffers take it on every machine.
    /// </summary>
    public const int MaxMessage = 16 << 10;

    private const byte GetDevice = 0, SetDevice = 1, Version = 1;
    private const ushort DeviceName = 2, DevicePrivateKey = 3, DevicePublicKey = 4, DevicePort = 6, DevicePeers = 8;
    private const ushort PeerPublicKey = 1, PeerFlags = 3, PeerEndpoint = 4, PeerKeepalive = 5, PeerHandshake = 6;
    private const ushort PeerReceived = 7, PeerSent = 8, PeerAllowedIps = 9;
    private const uint RemovePeer = 1, ReplaceAllowedIps = 2, UpdateOnly = 4;
    private const ushort RangeFamily = 1, RangeAddress = 2, RangeLength = 3;

    /// <summary>Bytes that a range takes at most: three attributes in a nest.</summary>
    private const int RangeSize = 4 + 8 + 20 + 8;
    private const int PeerSize = 256;
    private const ushort ControlFamily = 16, ControlFamilyId = 1, ControlFamilyName = 2;
    private const byte ControlGetFamily = 3;

    public static NetlinkMessage GetFamily(string name) =>
        new NetlinkMessage(ControlFamily, 0).Body([ControlGetFamily, 1, 0, 0]).Text(ControlFamilyName, name);

    public static ushort? ParseFamily(NetlinkFrame frame) => frame.Type != ControlFamily ? null
        : NetlinkReader.Attributes(frame, 4).Where(a => a.Type == ControlFamilyId).Select(a => (ushort?)a.Read<ushort>())
            .FirstOrDefault();

    public static NetlinkMessage Get(ushort family, string name) =>
        new NetlinkMessage(family, NetlinkMessage.Dump).Body([GetDevice, Version, 0, 0]).Text(DeviceName, name);

    /// <summary>One message, or several when the change is large; each is applied whole or not at all.</summary>
    public static IEnumerable<NetlinkMessage> Set(ushort family, string name, DeviceChange change)
    {
        var pending = new Queue<PeerChange>(change.Peers.SelectMany(Split));
        var first = true;
        while (first || pending.Count > 0)
        {
            var message = new NetlinkMessage(family, 0).Body([SetDevice, Version, 0, 0]).Text(DeviceName, name);
            if (first && change.PrivateKey is { } key)
            {
                message.Attribute(DevicePrivateKey, key.Secret);
            }

            if (first && change.ListenPort is { } port)
            {
                message.Attribute(DevicePort, (ushort)port);
            }

            first = false;
            if (pending.Count > 0)
            {
                message.Nested(DevicePeers, m =>
                {
                    do
                    {
                        Write(m, pending.Dequeue());
                    }
                    while (pending.TryPeek(out var next)
                        && m.Length + PeerSize + next.AllowedIps.Length * RangeSize <= MaxMessage);
                });
            }

            yield return message;
        }
    }

    /// <summary>
    /// The device in the frames of a dump. A peer whose ranges fill a frame goes on in the next one, with its key alone.
    /// </summary>
    public static DeviceStatus ParseDevice(string driver, string name, IEnumerable<NetlinkFrame> frames)
    {
        WireGuardPublicKey? key = null;
        var port = 0;
        var peers = ImmutableArray.CreateBuilder<PeerStatus>();
        foreach (var attribute in frames.SelectMany(f => NetlinkReader.Attributes(f, 4)))
        {
            switch (attribute.Type)
            {
                case DevicePublicKey: key = Key(attribute); break;
                case DevicePort: port = attribute.Read<ushort>(); break;
                case DevicePeers:
                    foreach (var item in NetlinkReader.Attributes(attribute.Value))
                    {
                        var peer = ParsePeer(item.Value);
                        if (peers.Count > 0 && peers[^1].PublicKey.Equals(peer.PublicKey))
                        {
                            peers[^1] = peers[^1] with { AllowedIps = peers[^1].AllowedIps.AddRange(peer.AllowedIps) };
                        }
                        else
                        {
                            peers.Add(peer);
                        }
                    }

                    break;
            }
        }

        return new()
        {
            Interface = name,
            Driver = driver,
            PublicKey = key is null || key.Bytes.IndexOfAnyExcept((byte)0) < 0 ? null : key,
            ListenPort = port,
            Peers = peers.ToImmutable(),
        };
    }

    /// <summary>A peer whose ranges do not fit one message, as several changes; only the first of them replaces.</summary>
    private static IEnumerable<PeerChange> Split(PeerChange change)
    {
        const int most = (MaxMessage - 2 * PeerSize) / RangeSize;
        yield return change.AllowedIps.Length <= most ? change : change with { AllowedIps = change.AllowedIps[..most] };
        for (var at = most; at < change.AllowedIps.Length; at += most)
        {
            var end = Math.Min(at + most, change.AllowedIps.Length);
            yield return new(change.PublicKey) { AllowedIps = change.AllowedIps[at..end] };
        }
    }

    private static void Write(NetlinkMessage message, PeerChange peer) => message.Nested(0, m =>
    {
        m.Attribute(PeerPublicKey, peer.PublicKey.Bytes);
        var flags = (peer.Remove ? RemovePeer : 0) | (peer.ReplaceAllowedIps ? ReplaceAllowedIps : 0)
            | (peer.Add || peer.Remove ? 0 : UpdateOnly);
        if (flags != 0)
        {
            m.Attribute(PeerFlags, flags);
        }

        if (peer.Endpoint is { } endpoint)
        {
            m.Attribute(PeerEndpoint, WriteSocketAddress(endpoint));
        }

        if (peer.Keepalive is { } keepalive)
        {
            m.Attribute(PeerKeepalive, (ushort)keepalive.TotalSeconds);
        }

        if (!peer.AllowedIps.IsEmpty)
        {
            m.Nested(PeerAllowedIps, n =>
            {
                foreach (var range in peer.AllowedIps)
                {
                    n.Nested(0, o => o
                        .Attribute(RangeFamily, RtMessages.Family(range.BaseAddress.AddressFamily))
                        .Attribute(RangeAddress, range.BaseAddress.GetAddressBytes())
                        .Attribute(RangeLength, (byte)range.PrefixLength));
                }
            });
        }
    });

    private static PeerStatus ParsePeer(ReadOnlyMemory<byte> bytes)
    {
        WireGuardPublicKey? key = null;
        var peer = new PeerStatus { PublicKey = null! };
        foreach (var attribute in NetlinkReader.Attributes(bytes))
        {
            peer = attribute.Type switch
            {
                PeerEndpoint => peer with { Endpoint = ParseSocketAddress(attribute.Value.Span) },
                PeerKeepalive => peer with { Keepalive = Keepalive(attribute.Read<ushort>()) },
                PeerHandshake => peer with { LastHandshake = Instant(attribute.Value.Span) },
                PeerReceived => peer with { ReceivedBytes = attribute.Read<long>() },
                PeerSent => peer with { SentBytes = attribute.Read<long>() },
                PeerAllowedIps => peer with { AllowedIps = ParseRanges(attribute.Value) },
                _ => peer,
            };
            key = attribute.Type == PeerPublicKey ? Key(attribute) : key;
        }

        return key is null ? throw new InvalidDataException("a WireGuard peer without a public key")
            : peer with { PublicKey = key };
    }

    private static TimeSpan? Keepalive(ushort seconds) => seconds == 0 ? null : TimeSpan.FromSeconds(seconds);

    private static ImmutableArray<IPNetwork> ParseRanges(ReadOnlyMemory<byte> bytes) =>
        [.. NetlinkReader.Attributes(bytes).Select(a => ParseRange(a.Value))];

    private static IPNetwork ParseRange(ReadOnlyMemory<byte> bytes)
    {
        ReadOnlyMemory<byte> address = default;
        var length = 0;
        foreach (var attribute in NetlinkReader.Attributes(bytes))
        {
            address = attribute.Type == RangeAddress ? attribute.Value : address;
            length = attribute.Type == RangeLength ? attribute.Read<byte>() : length;
        }

        return RtMessages.Range(address.Span, length)
            ?? throw new InvalidDataException($"a WireGuard range: address of {address.Length} bytes, length {length}");
    }

    private static WireGuardPublicKey Key(NetlinkAttribute attribute) => attribute.Value.Length == WireGuardKey.Size
        ? WireGuardPublicKey.FromBytes(attribute.Value.Span)
        : throw new InvalidDataException($"a WireGuard key of {attribute.Value.Length} bytes");

    /// <summary>struct timespec64: seconds and nanoseconds since 1970, 8 bytes each; zero: never.</summary>
    private static DateTimeOffset? Instant(ReadOnlySpan<byte> bytes)
    {
        var (seconds, nanoseconds) = (NetlinkReader.Read<long>(bytes, 0), NetlinkReader.Read<long>(bytes, 8));
        return UnixTime.ToInstant(seconds, nanoseconds);
    }

    /// <summary>struct sockaddr_in or sockaddr_in6.</summary>
    internal static byte[] WriteSocketAddress(IPEndPoint endpoint)
    {
        var address = DeviceChange.Plain(endpoint);
        var ipv4 = address.AddressFamily == AddressFamily.InterNetwork;
        var bytes = new byte[ipv4 ? 16 : 28];
        MemoryMarshal.Write(bytes, RtMessages.Family(address.AddressFamily));
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(2), (ushort)endpoint.Port);
        address.TryWriteBytes(bytes.AsSpan(ipv4 ? 4 : 8), out _);
        if (!ipv4)
        {
            MemoryMarshal.Write(bytes.AsSpan(24), (uint)address.ScopeId);
        }

        return bytes;
    }

    internal static IPEndPoint? ParseSocketAddress(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 2)
        {
            throw new InvalidDataException($"a socket address of {bytes.Length} bytes");
        }

        return (MemoryMarshal.Read<ushort>(bytes), bytes.Length) switch
        {
            (2, >= 8) => new(new IPAddress(bytes[4..8]), BinaryPrimitives.ReadUInt16BigEndian(bytes[2..])),
            (10, >= 28) => new(new IPAddress(bytes[8..24], MemoryMarshal.Read<uint>(bytes[24..])),
                BinaryPrimitives.ReadUInt16BigEndian(bytes[2..])),
            (0, _) => null,
            var (family, length) => throw new InvalidDataException($"a socket address of family {family} and {length} bytes"),
        };
    }
}
