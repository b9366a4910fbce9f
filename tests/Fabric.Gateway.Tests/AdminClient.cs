using System.Net.Sockets;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Google.Protobuf;

namespace Fabric.Gateway.Tests;

/// <summary>The admin API over its unix socket, as the command line uses it.</summary>
internal sealed class AdminClient : IDisposable
{
    private readonly HttpMessageInvoker _invoker;
    private readonly GrpcClient _client;

    public AdminClient(string socket)
    {
        _invoker = GrpcHandler.OverStreams(async cancellationToken =>
        {
            var unix = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await unix.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancellationToken);
            return new NetworkStream(unix, ownsSocket: true);
        });
        _client = new GrpcClient(_invoker, GrpcHandler.StreamAuthority, TimeProvider.System);
    }

    public Task<Status> StatusAsync() => CallAsync(AdminMethods.GetStatus, new GetStatusRequest());

    public Task<ReloadReply> ReloadAsync() => CallAsync(AdminMethods.Reload, new ReloadRequest());

    public Task<SetFaultReply> SetFaultAsync(string link, string fault, string peer = "") =>
        CallAsync(AdminMethods.SetFault, new SetFaultRequest { Link = link, Fault = fault, Peer = peer });

    public Task<DrainReply> DrainAsync(double seconds) => DrainAsync(new DrainRequest { LimitSeconds = seconds });

    public Task<DrainReply> DrainAsync(DrainRequest request) => CallAsync(AdminMethods.Drain, request);

    public Task<TReply> CallAsync<TRequest, TReply>(GrpcMethod<TRequest, TReply> method, TRequest request)
        where TRequest : class, IMessage<TRequest>, new()
        where TReply : class, IMessage<TReply>, new() => _client.UnaryAsync(method, request, new GrpcCallOptions { Timeout = Wait.Limit });

    /// <summary>Follows the status until it is as wanted; says what it was when it did not become so.</summary>
    public async Task<Status> UntilAsync(Func<Status, bool> wanted)
    {
        Status? last = null;
        try
        {
            await foreach (var status in _client.ServerStreamingAsync(
                AdminMethods.WatchStatus, new GetStatusRequest(), new GrpcCallOptions { Timeout = Wait.Limit }))
            {
                last = status;
                if (wanted(status))
                {
                    return status;
                }
            }
        }
        catch (GrpcException e) when (e.Status == GrpcStatus.DeadlineExceeded)
        {
            // Told below.
        }

        throw new TimeoutException($"the status stayed {last}");
    }

    /// <summary>Reads until one is as wanted, and gives all that came.</summary>
    public async Task<List<TReply>> ReadAsync<TRequest, TReply>(GrpcMethod<TRequest, TReply> method, TRequest request, Func<TReply, bool> last)
        where TRequest : class, IMessage<TRequest>, new()
        where TReply : class, IMessage<TReply>, new()
    {
        var read = new List<TReply>();
        await foreach (var reply in _client.ServerStreamingAsync(method, request, new GrpcCallOptions { Timeout = Wait.Limit }))
        {
            read.Add(reply);
            if (last(reply))
            {
                break;
            }
        }

        return read;
    }

    public void Dispose() => _invoker.Dispose();
}
