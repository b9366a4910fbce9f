using System.Net;

namespace Fabric.Gateway.Control.Transport;

/// <summary>
/// A place that Kestrel listens on and that no socket leads to: its connections are streams handed in, such as those of the
/// tunnel. Usage: <c>kestrel.Listen(endPoint, listen =&gt; listen.Protocols = HttpProtocols.Http2)</c>, then
/// <c>new EgressVerdict.Handle(stream =&gt; endPoint.ServeAsync(stream, peer))</c>.
/// </summary>
/// <param name="name">For logs and Kestrel's list of addresses.</param>
/// <param name="maxConnections">Streams served at once, those that wait for Kestrel included; more are refused.</param>
public sealed class StreamEndPoint(string name, int maxConnections = StreamEndPoint.DefaultMaxConnections) : EndPoint
{
    public const int DefaultMaxConnections = 256;

    private StreamConnectionListener? _listener;
    private int _connections;
    private long _served;

    /// <summary>Streams served now.</summary>
    public int Connections => Volatile.Read(ref _connections);

    /// <summary>
    /// Serves one stream until either side ends it, and disposes it. <paramref name="peer"/> is the gateway it came from, as
    /// authenticated by the tunnel: requests find it as <see cref="PeerFeature"/>. Throws <see cref="IOException"/> when
    /// nobody listens (not started yet, or stopping) or the limit is reached.
    /// </summary>
    public async Task ServeAsync(Stream stream, string peer)
    {
        try
        {
            var count = Interlocked.Increment(ref _connections);
            if (count > maxConnections)
            {
                throw new IOException($"{this} serves {maxConnections} streams already: the one from '{peer}' is refused");
            }

            var id = $"{name}-{Interlocked.Increment(ref _served)}";
            await using var connection = new StreamConnection(id, this, stream, new PeerFeature(peer));
            if (Volatile.Read(ref _listener)?.TryAdd(connection) != true)
            {
                throw new IOException($"{this} is not listening: the stream from '{peer}' is refused");
            }

            await connection.Completed;
        }
        finally
        {
            Interlocked.Decrement(ref _connections);
            await stream.DisposeAsync();
        }
    }

    /// <summary>One listener at a time, as for an address of a socket.</summary>
    internal StreamConnectionListener Bind()
    {
        var listener = new StreamConnectionListener(this, () => Volatile.Write(ref _listener, null));
        return Interlocked.CompareExchange(ref _listener, listener, null) is null ? listener
            : throw new IOException($"{this} is being listened on already");
    }

    /// <summary>Kestrel makes an address of it that others parse, so it has the form of a host name.</summary>
    public override string ToString() => $"{name}.streams";
}

/// <summary>On connections and requests that came through the tunnel: the gateway at the other end, authenticated.</summary>
public sealed record PeerFeature(string Gateway);
