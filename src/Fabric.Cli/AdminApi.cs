using System.Net.Sockets;
using Fabric.Protocol.Grpc;
using Google.Protobuf;

namespace Fabric.Cli;

/// <summary>The gateway's admin API over its unix socket; failures become exit codes here, once.</summary>
internal sealed class AdminApi : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private readonly string _path;
    private readonly HttpMessageInvoker _invoker;

    public AdminApi(CliHost host, string path)
    {
        _path = path;
        _invoker = GrpcHandler.OverStreams(async ct =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), ct);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        });
        Client = new GrpcClient(_invoker, GrpcHandler.StreamAuthority, host.Time);
    }

    public GrpcClient Client { get; }

    public void Dispose() => _invoker.Dispose();

    /// <param name="patience">How long the daemon may take. Default 10 s.</param>
    public async Task<TReply> CallAsync<TRequest, TReply>(
        GrpcMethod<TRequest, TReply> method, TRequest request, CancellationToken ct, TimeSpan? patience = null)
        where TRequest : class, IMessage<TRequest>, new()
        where TReply : class, IMessage<TReply>, new()
    {
        try
        {
            return await Client.UnaryAsync(method, request, new GrpcCallOptions { Timeout = patience ?? Patience }, ct);
        }
        catch (GrpcException e)
        {
            throw Explain(e);
        }
    }

    /// <summary>A failed call, as the command line tells it.</summary>
    public CliException Explain(GrpcException e) => e.Status switch
    {
        GrpcStatus.Unavailable when Refused(e) is { } why => new CliException(ExitCode.Unreachable,
            $"cannot reach the gateway at {_path}: {Words(why)}", why is SocketError.AccessDenied
                ? "run it as root, as the user that fabricd runs as, or as a member of its --socket-group"
                : "is fabricd running? another socket is named by --socket or FABRIC_SOCKET"),
        GrpcStatus.Unavailable or GrpcStatus.DeadlineExceeded => new CliException(ExitCode.Unreachable,
            $"the gateway at {_path} does not answer: {e.Detail}"),
        GrpcStatus.InvalidArgument => new CliException(ExitCode.InvalidTopology, e.Detail),
        GrpcStatus.PermissionDenied => new CliException(ExitCode.Failure, $"the gateway refuses: {e.Detail}"),
        _ => new CliException(ExitCode.Failure, $"the gateway answered {e.Status}: {e.Detail}"),
    };

    private static string Words(SocketError error) => error switch
    {
        SocketError.AddressNotAvailable => "there is no such socket",
        SocketError.ConnectionRefused => "nobody listens on this socket",
        SocketError.AccessDenied => "access to this socket is denied",
        _ => error.ToString(),
    };

    private static SocketError? Refused(Exception e)
    {
        for (var inner = e.InnerException; inner is not null; inner = inner.InnerException)
        {
            if (inner is SocketException socket)
            {
                return socket.SocketErrorCode;
            }
        }

        return null;
    }
}
