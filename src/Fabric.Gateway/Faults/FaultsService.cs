using System.Runtime.CompilerServices;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Faults;

/// <summary>
/// The methods of <c>faults.proto</c>: on the admin socket, where a request for another gateway is passed on over the session with it; and
/// for the gateways that the topology names. What came from another gateway is passed on no further.
/// </summary>
/// <param name="gateway">Name of this one.</param>
/// <param name="keeper">Null where the daemon was not started with <c>--allow-faults</c>.</param>
/// <param name="mayAsk">Whether the topology lets that gateway have faults applied here.</param>
/// <param name="connect">gRPC over the session with a gateway; null when there is none by that name.</param>
internal sealed class FaultsService(
    string gateway, FaultKeeper? keeper, GatewayEvents events, Func<string, bool> mayAsk, Func<string, HttpMessageInvoker?> connect, TimeProvider time)
{
    /// <summary>Readers of events at a time.</summary>
    public const int MaxReaders = 64;

    /// <summary>A gateway that does not answer by then is said to be away.</summary>
    private static readonly GrpcCallOptions _passedOn = new() { Timeout = TimeSpan.FromSeconds(20) };
    private int _readers;

    /// <summary>Adds the methods.</summary>
    /// <param name="peer">Who asks, for calls of other gateways: its name. Null: the admin socket.</param>
    public GrpcServer Serve(GrpcServer server, Func<GrpcCall, string>? peer = null) => server
        .Unary(FaultsMethods.List, (r, c) => AnswerAsync(FaultsMethods.List, r, r.Gateway, peer?.Invoke(c), k => Task.FromResult(k.List()), c.Cancellation))
        .Unary(FaultsMethods.Apply, (r, c) => AnswerAsync(FaultsMethods.Apply, r, r.Gateway, peer?.Invoke(c), k => k.ApplyAsync(r.Fault), c.Cancellation))
        .Unary(FaultsMethods.Renew, (r, c) => AnswerAsync(FaultsMethods.Renew, r, r.Gateway, peer?.Invoke(c), k => Task.FromResult(k.Renew(r.Drill)), c.Cancellation))
        .Unary(FaultsMethods.Revert, (r, c) => AnswerAsync(FaultsMethods.Revert, r, r.Gateway, peer?.Invoke(c), k => k.RevertAsync(r.Drill), c.Cancellation))
        .ServerStreaming(FaultsMethods.Events, (r, c) => EventsAsync(r, peer?.Invoke(c), c.Cancellation));

    private async Task<FaultList> AnswerAsync<TRequest>(
        GrpcMethod<TRequest, FaultList> method, TRequest request, string target, string? peer, Func<FaultKeeper, Task<FaultList>> here, CancellationToken cancellationToken)
        where TRequest : class, Google.Protobuf.IMessage<TRequest>, new()
    {
        var own = Admit(target, peer);
        if (target.Length == 0 || target == gateway)
        {
            return await here(own);
        }

        using var channel = Channel(target);
        return await Client(channel, target).UnaryAsync(method, request, _passedOn, cancellationToken);
    }

    private async IAsyncEnumerable<GatewayEvent> EventsAsync(
        GatewayEventsRequest request, string? peer, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Admit(request.Gateway, peer);
        if (Interlocked.Increment(ref _readers) > MaxReaders)
        {
            Interlocked.Decrement(ref _readers);
            throw new GrpcException(GrpcStatus.ResourceExhausted, $"{MaxReaders} read the events of {gateway}, and no more may");
        }

        try
        {
            using var channel = request.Gateway.Length == 0 || request.Gateway == gateway ? null : Channel(request.Gateway);
            var happened = channel is null ? events.WatchAsync(request.SinceUnixUs, cancellationToken)
                : Client(channel, request.Gateway).ServerStreamingAsync(FaultsMethods.Events, request, null, cancellationToken);
            await foreach (var one in happened.WithCancellation(cancellationToken))
            {
                yield return one;
            }
        }
        finally
        {
            Interlocked.Decrement(ref _readers);
        }
    }

    private FaultKeeper Admit(string target, string? peer)
    {
        if (keeper is null)
        {
            throw new GrpcException(GrpcStatus.PermissionDenied, $"fabricd of {gateway} was not started with --allow-faults");
        }

        if (peer is not null && !mayAsk(peer))
        {
            throw new GrpcException(GrpcStatus.PermissionDenied, $"{gateway} takes no faults from {peer}: the topology names it in none of drills.from");
        }

        return peer is null || target.Length == 0 || target == gateway ? keeper
            : throw new GrpcException(GrpcStatus.InvalidArgument, $"this is {gateway}, and what is for {target} is passed on once");
    }

    private HttpMessageInvoker Channel(string target) => connect(target)
        ?? throw new GrpcException(GrpcStatus.NotFound, $"{gateway} has no session with a gateway '{target}': ask one that has");

    private GrpcClient Client(HttpMessageInvoker channel, string target) => new(channel, new Uri($"http://{target}"), time);
}
