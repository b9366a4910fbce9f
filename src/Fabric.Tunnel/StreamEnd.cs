using System.Net.Sockets;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel;

/// <summary>Carries a stream between its ends, until both are done with. What it leaves open is closed when its task ends, and reset when it throws.</summary>
public delegate Task StreamCarrier(StreamEnd caller, StreamEnd endpoint, CancellationToken cancellationToken);

/// <summary>One end of a stream, for who carries it in the driver's place. One read and one write may be under way at once.</summary>
public abstract class StreamEnd(Stream bytes)
{
    private long _read;
    private long _written;

    /// <summary>Bytes read from this end, and written to it.</summary>
    public long BytesRead => Interlocked.Read(ref _read);

    public long BytesWritten => Interlocked.Read(ref _written);

    /// <summary>Returns 0 at the end. With an empty buffer it waits until there is something, or the end. Throws <see cref="IOException"/> after a reset.</summary>
    public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        var read = await bytes.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        Interlocked.Add(ref _read, read);
        return read;
    }

    /// <summary>Throws <see cref="IOException"/> after a reset.</summary>
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        await bytes.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
        Interlocked.Add(ref _written, buffer.Length);
    }

    /// <summary>Nothing more is written; reading goes on. Idempotent.</summary>
    public abstract void CompleteWrites();

    /// <summary>Ends both ways at once. Idempotent.</summary>
    public abstract void Reset(string reason);

    internal static StreamEnd Of(Socket socket) => new SocketEnd(socket, new NetworkStream(socket, ownsSocket: false));

    internal static StreamEnd Of(TunnelStream stream) => new TunnelEnd(stream);

    private sealed class SocketEnd(Socket socket, Stream bytes) : StreamEnd(bytes)
    {
        public override void CompleteWrites()
        {
            try
            {
                socket.Shutdown(SocketShutdown.Send);
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                // It is over already.
            }
        }

        public override void Reset(string reason) => Sockets.Abort(socket);
    }

    private sealed class TunnelEnd(TunnelStream stream) : StreamEnd(stream)
    {
        public override void CompleteWrites() => stream.CompleteWrites();

        public override void Reset(string reason) => stream.Reset(StreamCode.ApplicationReset, reason);
    }
}
