using System.Security.Cryptography;

namespace Fabric.Protocol.Probes;

/// <summary>
/// The key of one direction of probing: the gateway that answers gave it to the one that asks, inside the HELLO of a lane.
/// Requests and replies are signed with different keys derived from it, so that neither passes for the other.
/// </summary>
public sealed class ProbeKey
{
    /// <summary>Bytes of the key that is exchanged.</summary>
    public const int Length = 32;

    private readonly byte[] _key;

    /// <summary>Throws <see cref="ArgumentException"/> unless the key has 32 bytes.</summary>
    public ProbeKey(ReadOnlySpan<byte> key)
    {
        if (key.Length != Length)
        {
            throw new ArgumentException($"a probe key has {Length} bytes, not {key.Length}", nameof(key));
        }

        _key = key.ToArray();
        RequestKey = HMACSHA256.HashData(_key, "fabric/1 probe request"u8);
        ReplyKey = HMACSHA256.HashData(_key, "fabric/1 probe reply"u8);
    }

    internal byte[] RequestKey { get; }
    internal byte[] ReplyKey { get; }

    /// <summary>Whether it was made from that key; in constant time.</summary>
    public bool IsFrom(ReadOnlySpan<byte> key) => CryptographicOperations.FixedTimeEquals(_key, key);

    public override string ToString() => "probe key (secret)";
}
