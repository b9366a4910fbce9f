using System.Buffers.Binary;

namespace Fabric.Tunnel.Core;

/// <summary>Session ids: 12 random bytes of the process, then the generation, big-endian.</summary>
internal static class SessionIds
{
    public static Guid WithGeneration(Guid process, uint generation)
    {
        Span<byte> bytes = stackalloc byte[16];
        process.TryWriteBytes(bytes, bigEndian: true, out _);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[12..], generation);
        return new Guid(bytes, bigEndian: true);
    }

    public static uint Generation(Guid session)
    {
        Span<byte> bytes = stackalloc byte[16];
        session.TryWriteBytes(bytes, bigEndian: true, out _);
        return BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]);
    }

    public static bool SameProcess(Guid a, Guid b) => WithGeneration(a, 0) == WithGeneration(b, 0);

    /// <summary>Whether the process that had <paramref name="of"/> has given that session up, and has this one now.</summary>
    public static bool IsSuccessor(Guid id, Guid of) => SameProcess(id, of) && Generation(id) > Generation(of);

    /// <summary>One id that both ends derive from theirs, for logs.</summary>
    public static Guid Common(Guid a, Guid b)
    {
        Span<byte> bytes = stackalloc byte[32];
        a.TryWriteBytes(bytes, bigEndian: true, out _);
        b.TryWriteBytes(bytes[16..], bigEndian: true, out _);
        for (var i = 0; i < 16; i++)
        {
            bytes[i] ^= bytes[16 + i];
        }

        return new Guid(bytes[..16], bigEndian: true);
    }
}
