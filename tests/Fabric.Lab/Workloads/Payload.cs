using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Fabric.Lab.Workloads;

/// <summary>
/// A big file whose bytes are known: blocks of 1 MiB, each the same pseudorandom bytes (by seed) with its own number in
/// front and in between, so that no two blocks are equal and a lost, doubled or swapped piece changes the hash.
/// </summary>
public sealed record Payload(string Path, long Length, string Sha256)
{
    private const int Block = 1 << 20;

    /// <summary>Writes it. The length is a multiple of 1 MiB.</summary>
    public static async Task<Payload> Write(string path, long length, int seed = 7)
    {
        var block = new byte[Block];
        new Random(seed).NextBytes(block);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
        for (long written = 0; written < length; written += Block)
        {
            for (var at = 0; at < Block; at += 4096)
            {
                BinaryPrimitives.WriteInt64LittleEndian(block.AsSpan(at), written + at);
            }

            hash.AppendData(block);
            await file.WriteAsync(block);
        }

        return new Payload(path, length, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }
}
