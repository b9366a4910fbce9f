using System.Net.Sockets;
using System.Security.Cryptography;

namespace Fabric.Tunnel.Tests;

/// <summary>Bytes that are known by their hash.</summary>
internal static class Traffic
{
    /// <summary>Sends pseudo-random bytes of that seed, then FIN. Returns their SHA-256.</summary>
    /// <param name="goesOn">Ends before all were sent when it no longer holds.</param>
    public static async Task<string> SendAsync(Socket socket, long bytes, int seed, int piece = 64 * 1024, Func<bool>? goesOn = null)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var random = new Random(seed);
        var buffer = new byte[piece];
        while (bytes > 0 && goesOn?.Invoke() != false)
        {
            var take = (int)Math.Min(bytes, piece);
            random.NextBytes(buffer.AsSpan(0, take));
            hash.AppendData(buffer, 0, take);
            for (var sent = 0; sent < take;)
            {
                sent += await socket.SendAsync(buffer.AsMemory(sent, take - sent));
            }

            bytes -= take;
        }

        socket.Shutdown(SocketShutdown.Send);
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    /// <summary>Reads until FIN. Returns the SHA-256 and the count.</summary>
    public static async Task<(string Hash, long Bytes)> ReceiveAsync(Socket socket, Action<long>? progress = null, int piece = 64 * 1024)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[piece];
        var total = 0L;
        while (await socket.ReceiveAsync(buffer) is var read && read > 0)
        {
            hash.AppendData(buffer, 0, read);
            total += read;
            progress?.Invoke(total);
        }

        return (Convert.ToHexString(hash.GetHashAndReset()), total);
    }
}
