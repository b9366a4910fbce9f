using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Text;
using Fabric.Overlay.Devices;
using Fabric.Overlay.Keys;

namespace Fabric.Overlay.Userspace;

/// <summary>
/// The text of the cross-platform configuration protocol (wireguard.com/xplatform): <c>key=value</c> lines, keys in lowercase
/// hexadecimal, an empty line at the end. No I/O.
/// </summary>
internal static class UapiCodec
{
    /// <summary>An answer is larger than 4,096 peers need: refuse.</summary>
    public const int MaxAnswer = 16 << 20;

    public static ReadOnlyMemory<byte> Get { get; } = "get=1\n\n"u8.ToArray();

    /// <summary>The bytes hold the private key when that changes: the caller overwrites them.</summary>
    public static byte[] Set(DeviceChange change)
    {
        var text = new StringBuilder();
        if (change.ListenPort is { } port)
        {
            text.Append(CultureInfo.InvariantCulture, $"listen_port={port}\n");
        }

        foreach (var peer in change.Peers)
        {
            Append(text, peer);
        }

        text.Append('\n');
        var head = change.PrivateKey is null ? "set=1\n"u8 : "set=1\nprivate_key="u8;
        var secret = change.PrivateKey is null ? 0 : 2 * WireGuardKey.Size + 1;
        var result = new byte[head.Length + secret + text.Length];
        head.CopyTo(result);
        if (change.PrivateKey is { } key)
        {
            Convert.TryToHexStringLower(key.Secret, result.AsSpan(head.Length), out _);
            result[head.Length + secret - 1] = (byte)'\n';
        }

        Encoding.ASCII.GetBytes(text.ToString(), result.AsSpan(head.Length + secret));
        return result;
    }

    /// <summary>
    /// errno of an answer's last line, positive; 0: success. Throws <see cref="InvalidDataException"/> without one.
    /// </summary>
    public static int ParseErrno(string answer)
    {
        var at = answer.LastIndexOf("errno=", StringComparison.Ordinal);
        if (at < 0 || (at > 0 && answer[at - 1] != '\n'))
        {
            throw new InvalidDataException("a UAPI answer without errno");
        }

        var errno = Number(answer[(at + 6)..].TrimEnd('\n'), -4096, 4096);
        return (int)Math.Abs(errno);
    }

    /// <summary>
    /// The device in the answer to <see cref="Get"/>. Unknown keys are ignored, as the protocol demands of readers.
    /// </summary>
    public static DeviceStatus ParseDevice(string driver, string name, string answer)
    {
        WireGuardPublicKey? key = null;
        var port = 0;
        var peers = ImmutableArray.CreateBuilder<PeerStatus>();
        var ranges = ImmutableArray.CreateBuilder<IPNetwork>();
        var (seconds, nanoseconds) = (0L, 0L);
        PeerStatus? peer = null;
        foreach (var line in answer.EnumerateLines())
        {
            if (line.IsEmpty)
            {
                continue;
            }

            var equals = line.IndexOf('=');
            if (equals < 1)
            {
                throw new InvalidDataException($"a UAPI line of {line.Length} characters without key and value");
            }

            var value = line[(equals + 1)..].ToString();
            switch (line[..equals])
            {
                case "private_key":
                    key = DerivePublic(value);
                    break;
                case "listen_port":
                    port = (int)Number(value, 0, 65535);
                    break;
                case "public_key":
                    Complete();
                    peer = new() { PublicKey = PublicKey(value) };
                    break;
                case "endpoint":
                    peer = Peer() with { Endpoint = Endpoint(value) };
                    break;
                case "persistent_keepalive_interval":
                    peer = Peer() with { Keepalive = Number(value, 0, 65535) is > 0 and var s ? TimeSpan.FromSeconds(s) : null };
                    break;
                case "last_handshake_time_sec":
                    seconds = Number(value, 0, long.MaxValue);
                    break;
                case "last_handshake_time_nsec":
                    nanoseconds = Number(value, 0, long.MaxValue);
                    break;
                case "rx_bytes":
                    peer = Peer() with { ReceivedBytes = Number(value, 0, long.MaxValue) };
                    break;
                case "tx_bytes":
                    peer = Peer() with { SentBytes = Number(value, 0, long.MaxValue) };
                    break;
                case "allowed_ip":
                    Peer();
                    ranges.Add(Range(value));
                    break;
            }
        }

        Complete();
        return new() { Interface = name, Driver = driver, PublicKey = key, ListenPort = port, Peers = peers.ToImmutable() };

        PeerStatus Peer() => peer ?? throw new InvalidDataException("a UAPI line of a peer before its public_key");

        void Complete()
        {
            if (peer is not null)
            {
                var handshake = UnixTime.ToInstant(seconds, nanoseconds);
                peers.Add(peer with { LastHandshake = handshake, AllowedIps = ranges.ToImmutable() });
            }

            ranges.Clear();
            (seconds, nanoseconds) = (0, 0);
        }
    }

    private static void Append(StringBuilder text, PeerChange peer)
    {
        text.Append("public_key=").Append(peer.PublicKey.ToHex()).Append('\n');
        if (peer.Remove)
        {
            text.Append("remove=true\n");
            return;
        }

        if (!peer.Add)
        {
            text.Append("update_only=true\n");
        }

        if (peer.Endpoint is { } endpoint)
        {
            text.Append("endpoint=").Append(new IPEndPoint(DeviceChange.Plain(endpoint), endpoint.Port)).Append('\n');
        }

        if (peer.Keepalive is { } keepalive)
        {
            text.Append(CultureInfo.InvariantCulture, $"persistent_keepalive_interval={(int)keepalive.TotalSeconds}\n");
        }

        if (peer.ReplaceAllowedIps)
        {
            text.Append("replace_allowed_ips=true\n");
        }

        foreach (var range in peer.AllowedIps)
        {
            text.Append("allowed_ip=").Append(range).Append('\n');
        }
    }

    /// <summary>All zero: none is set.</summary>
    private static WireGuardPublicKey? DerivePublic(string hex)
    {
        Span<byte> bytes = stackalloc byte[WireGuardKey.Size];
        if (hex.Length != 2 * WireGuardKey.Size
            || Convert.FromHexString(hex, bytes, out _, out _) != System.Buffers.OperationStatus.Done)
        {
            throw new InvalidDataException($"a UAPI private key of {hex.Length} characters is not 64 hexadecimal digits");
        }

        if (bytes.IndexOfAnyExcept((byte)0) < 0)
        {
            return null;
        }

        using var key = WireGuardKey.FromBytes(bytes);
        bytes.Clear();
        return key.PublicKey;
    }

    private static WireGuardPublicKey PublicKey(string hex)
    {
        try
        {
            return WireGuardPublicKey.FromHex(hex);
        }
        catch (OverlayException e)
        {
            throw new InvalidDataException(e.Message, e);
        }
    }

    private static long Number(string value, long least, long most) =>
        long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number >= least
            && number <= most
            ? number
            : throw new InvalidDataException($"a UAPI number of {value.Length} characters must be {least} to {most}");

    private static IPEndPoint Endpoint(string value) => IPEndPoint.TryParse(value, out var endpoint)
        ? endpoint
        : throw new InvalidDataException($"a UAPI endpoint of {value.Length} characters is no address and port");

    private static IPNetwork Range(string value) => IPNetwork.TryParse(value, out var range)
        ? range
        : throw new InvalidDataException($"a UAPI range of {value.Length} characters is no address and prefix length");
}
