namespace Fabric.Tunnel.Linux;

/// <summary>Sizes and limits of TLS connections.</summary>
internal sealed record TlsOptions
{
    /// <summary>For the limit by the second.</summary>
    public required TimeProvider Time { get; init; }

    /// <summary>
    /// Bytes that one receive may bring: a large one brings many records at once, and one that is larger than a core's own cache is
    /// copied from further away. What a peer sends at once fits, with what TLS adds: 128 KiB of frames. Held only while records are in it.
    /// </summary>
    public int ReadBuffer { get; init; } = 132 * 1024;

    /// <summary>Bytes of ciphertext that wait to be sent before <see cref="TlsSession.Write"/> takes no more.</summary>
    public int OutputLimit { get; init; } = 512 * 1024;

    /// <summary>
    /// Records after which an end changes its own key. AES-GCM wears out after 2^24.5 of them (RFC 8446 §5.5).
    /// </summary>
    public int KeyUpdateAfter { get; init; } = 1 << 24;

    /// <summary>
    /// Handshake messages a second, after the handshake, that a peer may send or make this end send: key updates, their answers,
    /// tickets. A key update of 27 bytes costs its reader some 30 µs.
    /// </summary>
    public int MaxMessagesPerSecond { get; init; } = 32;
}
