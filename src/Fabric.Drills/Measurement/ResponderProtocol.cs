using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Fabric.Drills.Measurement;

/// <summary>
/// A numbered message, which comes back as it is: 64 bytes, with "FDL1", who sent it, its number, and bytes that follow from both.
/// </summary>
/// <remarks>
/// <code>
/// 0  4 bytes  "FDL1"
/// 4  u32      the load, by chance
/// 8  u32      its connection
/// 12 u64      number of the message on its connection, from 0
/// 20 44 bytes that follow from these
/// </code>
/// Numbers are big-endian. Any service that echoes will do: a responder is one that knows nothing else.
/// </remarks>
internal static class LiveMessage
{
    public const int Size = 64;

    public static ReadOnlySpan<byte> Magic => "FDL1"u8;

    public static void Write(Span<byte> message, uint load, int connection, long number)
    {
        Magic.CopyTo(message);
        BinaryPrimitives.WriteUInt32BigEndian(message[4..], load);
        BinaryPrimitives.WriteInt32BigEndian(message[8..], connection);
        BinaryPrimitives.WriteInt64BigEndian(message[12..], number);
        var mixed = load * 31 + (uint)connection * 7 + (uint)number * 13;
        for (var i = 20; i < Size; i++)
        {
            message[i] = (byte)(mixed + i);
        }
    }
}

/// <summary>
/// A stream of so many bytes that follow from a seed, and their SHA-256: what a responder sends when it is asked by 20 bytes.
/// </summary>
/// <remarks>
/// <code>
/// request:  0 4 bytes "FDB1", 4 u64 seed, 12 u64 length, 1 to 1 TiB
/// answer:   the stream, then the SHA-256 of seed, length and stream (32 bytes); the next request may follow
/// </code>
/// Blocks of 64 KiB: bytes by chance from the seed, and in each 4 KiB the place in the stream, so that no two blocks are equal.
/// </remarks>
internal sealed class SeededStream : IDisposable
{
    public const int RequestSize = 20;
    public const int BlockSize = 64 * 1024;
    public const int HashSize = 32;
    private const int Stamp = 4096;

    private readonly byte[] _block = new byte[BlockSize];
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly ulong _seed;
    private readonly long _length;
    private long _blockAt = -1;

    public SeededStream(ulong seed, long length)
    {
        (_seed, _length) = (seed, length);
        // Not a secret, and as fast as can be: xorshift.
        var state = seed | 1;
        for (var i = 0; i < BlockSize; i += 8)
        {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            BinaryPrimitives.WriteUInt64BigEndian(_block.AsSpan(i), state);
        }

        Span<byte> head = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(head, seed);
        BinaryPrimitives.WriteInt64BigEndian(head[8..], length);
        _hash.AppendData(head);
    }

    public static ReadOnlySpan<byte> Magic => "FDB1"u8;

    /// <summary>Of all that <see cref="Hash"/> was given, after seed and length.</summary>
    public byte[] Finish() => _hash.GetHashAndReset();

    public void Hash(ReadOnlySpan<byte> bytes) => _hash.AppendData(bytes);

    /// <summary>What stands at a place of the stream, up to the end of its block.</summary>
    public ReadOnlySpan<byte> At(long place)
    {
        var start = place / BlockSize * BlockSize;
        if (start != _blockAt)
        {
            _blockAt = start;
            for (var i = 0; i < BlockSize; i += Stamp)
            {
                BinaryPrimitives.WriteInt64BigEndian(_block.AsSpan(i), (start + i) ^ (long)_seed);
            }
        }

        var from = (int)(place - start);
        return _block.AsSpan(from, (int)Math.Min(BlockSize - from, _length - place));
    }

    public static void WriteRequest(Span<byte> request, ulong seed, long length)
    {
        Magic.CopyTo(request);
        BinaryPrimitives.WriteUInt64BigEndian(request[4..], seed);
        BinaryPrimitives.WriteInt64BigEndian(request[12..], length);
    }

    /// <summary>False when it is no request, or asks for more than a responder gives.</summary>
    public static bool TryReadRequest(ReadOnlySpan<byte> request, out ulong seed, out long length)
    {
        (seed, length) = (0, 0);
        if (request.Length < RequestSize || !request.StartsWith(Magic))
        {
            return false;
        }

        seed = BinaryPrimitives.ReadUInt64BigEndian(request[4..]);
        length = BinaryPrimitives.ReadInt64BigEndian(request[12..]);
        return length is >= 1 and <= Responder.MaxStream;
    }

    public void Dispose() => _hash.Dispose();
}
