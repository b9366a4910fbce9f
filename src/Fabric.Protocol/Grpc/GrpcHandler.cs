namespace Fabric.Protocol.Grpc;

/// <summary>Makes what <see cref="GrpcClient"/> calls through.</summary>
public static class GrpcHandler
{
    /// <summary>Host of the authority when the way there is a stream and has no name of its own.</summary>
    public static readonly Uri StreamAuthority = new("http://fabric");

    /// <summary>
    /// HTTP/2 with prior knowledge over one connection at a time, which <paramref name="open"/> opens (a unix socket, a stream
    /// of the tunnel) when there is none. A connection that carries calls and answers no ping for 10 s after 20 s of silence
    /// is given up, and its calls end UNAVAILABLE. At most 100 calls at once if the server does not say otherwise; more wait.
    /// </summary>
    /// <param name="pings">
    /// False for the servers of others: those in Go end a connection that pings more often than every 5 min. Then a peer that is gone
    /// without a word is not noticed.
    /// </param>
    public static HttpMessageInvoker OverStreams(Func<CancellationToken, Task<Stream>> open, bool pings = true) => new(
        new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) => await open(cancellationToken),
            ConnectTimeout = TimeSpan.FromSeconds(10),
            EnableMultipleHttp2Connections = false,
            KeepAlivePingDelay = pings ? TimeSpan.FromSeconds(20) : Timeout.InfiniteTimeSpan,
            KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
        },
        disposeHandler: true);
}
