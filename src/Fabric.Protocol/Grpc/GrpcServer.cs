using System.Globalization;
using System.IO.Pipelines;
using Fabric.Protocol.Proto.Health;
using Google.Protobuf;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Fabric.Protocol.Grpc;

/// <summary>
/// Serves unary and server-streaming methods to any gRPC client over HTTP/2: <see cref="InvokeAsync"/> is a
/// <see cref="RequestDelegate"/>. Methods are added before it serves. Identity encoding only.
/// Source: gRPC PROTOCOL-HTTP2.md.
/// </summary>
/// <param name="time">Clock of the deadlines.</param>
/// <param name="logger">Hears of handlers that fail with anything other than a <see cref="GrpcException"/>.</param>
/// <param name="maxMessageBytes">Largest message taken or sent: RESOURCE_EXHAUSTED above it.</param>
public sealed class GrpcServer(
    TimeProvider time, ILogger? logger = null, int maxMessageBytes = GrpcFraming.DefaultMaxMessageBytes)
{
    private static readonly TimeSpan MaxTimeout = TimeSpan.FromDays(40);

    private readonly Dictionary<string, Method> _methods = new(StringComparer.Ordinal);

    /// <summary>Asked before each call that has a handler; throws <see cref="GrpcException"/> to refuse it. Default: all are served.</summary>
    public Action<GrpcCall> Admit { get; init; } = static _ => { };

    /// <summary>
    /// Ends the calls whose replies come as a stream, with UNAVAILABLE: a watch would go on for as long as anybody waits for it. Calls of one reply
    /// are left to end.
    /// </summary>
    public CancellationToken Stopping { get; init; }

    /// <summary>The handler answers with the reply, or throws <see cref="GrpcException"/>.</summary>
    public GrpcServer Unary<TRequest, TReply>(GrpcMethod<TRequest, TReply> method, Func<TRequest, GrpcCall, Task<TReply>> handler)
        where TRequest : class, IMessage<TRequest>, new()
        where TReply : class, IMessage<TReply>, new()
    {
        _methods.Add(method.Path, new(Streams: false, async (http, call) =>
        {
            var request = await ReadOnlyMessageAsync(http.Request.BodyReader, method.RequestParser, call.Cancellation);
            var reply = await handler(request, call).WaitAsync(call.Cancellation);
            await WriteAsync(http.Response, reply, call.Cancellation);
        }));
        return this;
    }

    /// <summary>
    /// The handler's messages are sent as they come, each pulled when the one before has been taken by the connection: a
    /// slow client slows the handler.
    /// </summary>
    public GrpcServer ServerStreaming<TRequest, TReply>(
        GrpcMethod<TRequest, TReply> method, Func<TRequest, GrpcCall, IAsyncEnumerable<TReply>> handler)
        where TRequest : class, IMessage<TRequest>, new()
        where TReply : class, IMessage<TReply>, new()
    {
        _methods.Add(method.Path, new(Streams: true, async (http, call) =>
        {
            var request = await ReadOnlyMessageAsync(http.Request.BodyReader, method.RequestParser, call.Cancellation);
            await WriteAllAsync(http.Response, handler(request, call), call.Cancellation);
        }));
        return this;
    }

    /// <summary>
    /// Answers the standard probe. <paramref name="serving"/> gets a service name, or "" for all; null: not known here.
    /// </summary>
    public GrpcServer Health(Func<string, bool?> serving) => Unary(HealthMethods.Check, (request, _) =>
        Task.FromResult(new HealthCheckResponse
        {
            Status = serving(request.Service) switch
            {
                true => HealthCheckResponse.Types.ServingStatus.Serving,
                false => HealthCheckResponse.Types.ServingStatus.NotServing,
                null => throw new GrpcException(GrpcStatus.NotFound, $"no service '{request.Service}' here"),
            },
        }));

    /// <summary>
    /// Serves one request. What is not gRPC gets the HTTP status that the protocol names: 426 below HTTP/2, 405 for anything
    /// but POST, 415 for another content type.
    /// </summary>
    public async Task InvokeAsync(HttpContext http)
    {
        if (RefusalOf(http.Request) is { } refusal)
        {
            http.Response.StatusCode = refusal;
            return;
        }

        http.Response.ContentType = GrpcHeaders.ContentType;
        http.Response.Headers[GrpcHeaders.AcceptEncoding] = "identity";
        var timeout = TimeoutOf(http.Request, out var timeoutError);
        using var deadline = timeout is { } limit ? new CancellationTokenSource(limit, time) : new CancellationTokenSource();
        var method = _methods.GetValueOrDefault(http.Request.Path.Value ?? "");
        var stopping = method is { Streams: true } ? Stopping : CancellationToken.None;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, deadline.Token, stopping);
        var call = new GrpcCall
        {
            Method = http.Request.Path.Value ?? "",
            Metadata = MetadataOf(http.Request),
            Deadline = time.GetUtcNow() + timeout,
            Cancellation = either.Token,
            Features = http.Features,
        };

        GrpcException? failure = null;
        try
        {
            if (timeoutError is not null)
            {
                throw new GrpcException(GrpcStatus.Internal, timeoutError);
            }

            if (method is null)
            {
                throw new GrpcException(GrpcStatus.Unimplemented, $"no method {call.Method} here");
            }

            call.Cancellation.ThrowIfCancellationRequested();
            Admit(call);
            await method.Serve(http, call);
        }
        catch (Exception) when (http.RequestAborted.IsCancellationRequested)
        {
            return;
        }
        catch (GrpcException e)
        {
            failure = e;
        }
        catch (OperationCanceledException e)
        {
            failure = deadline.IsCancellationRequested
                ? new GrpcException(GrpcStatus.DeadlineExceeded, $"not answered within {timeout}", e)
                : stopping.IsCancellationRequested ? new GrpcException(GrpcStatus.Unavailable, "the server stops", e)
                : new GrpcException(GrpcStatus.Cancelled, "the handler gave up", e);
        }
        catch (Exception e)
        {
            // What it says may name what is inside: it goes to the log and not to the client.
            logger?.LogError(e, "{Method} failed", call.Method);
            failure = new GrpcException(GrpcStatus.Unknown, "the handler failed", e);
        }

        Finish(http.Response, failure, failure is { Trailers.Count: > 0 } ? failure.Trailers : call.Trailers);
    }

    private static int? RefusalOf(HttpRequest request) =>
        !HttpProtocol.IsHttp2(request.Protocol) && !HttpProtocol.IsHttp3(request.Protocol) ? StatusCodes.Status426UpgradeRequired
        : !HttpMethods.IsPost(request.Method) ? StatusCodes.Status405MethodNotAllowed
        : !GrpcHeaders.IsGrpc(request.ContentType) ? StatusCodes.Status415UnsupportedMediaType
        : null;

    private static TimeSpan? TimeoutOf(HttpRequest request, out string? error)
    {
        error = null;
        string? text = request.Headers[GrpcHeaders.Timeout];
        if (text is null)
        {
            return null;
        }

        if (!GrpcHeaders.TryParseTimeout(text, out var timeout))
        {
            error = $"grpc-timeout '{text}' is not one to eight digits and one of H M S m u n";
            return null;
        }

        // Clients say "never" with the largest value there is; a timer holds 49 days.
        return timeout > MaxTimeout ? null : timeout;
    }

    private static GrpcMetadata MetadataOf(HttpRequest request)
    {
        GrpcMetadata metadata = [];
        foreach (var (name, values) in request.Headers)
        {
            foreach (var value in values)
            {
                metadata.AddReceived(name, value ?? "");
            }
        }

        return metadata;
    }

    private async Task<T> ReadOnlyMessageAsync<T>(PipeReader body, MessageParser<T> parser, CancellationToken cancellationToken)
        where T : class, IMessage<T>
    {
        var message = await GrpcFraming.ReadAsync(body, parser, maxMessageBytes, cancellationToken)
            ?? throw new GrpcException(GrpcStatus.Unimplemented, "no request message came: this method takes exactly one");
        return await GrpcFraming.ReadAsync(body, parser, maxMessageBytes, cancellationToken) is null ? message
            : throw new GrpcException(GrpcStatus.Unimplemented, "a second request message came: this method takes exactly one");
    }

    private async Task WriteAllAsync<T>(HttpResponse response, IAsyncEnumerable<T> messages, CancellationToken cancellationToken)
        where T : class, IMessage<T>
    {
        var replies = messages.GetAsyncEnumerator(cancellationToken);
        var next = Task.FromResult(false);
        try
        {
            while (await (next = replies.MoveNextAsync().AsTask()).WaitAsync(cancellationToken))
            {
                await WriteAsync(response, replies.Current, cancellationToken);
            }
        }
        finally
        {
            // An iterator cannot be disposed while it runs: one that has not noticed the cancellation yet ends on its own.
            var disposing = DisposeAfterAsync(next, replies);
            await (next.IsCompleted ? disposing : Task.CompletedTask);
        }
    }

    private static async Task DisposeAfterAsync(Task running, IAsyncDisposable replies)
    {
        await running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await replies.DisposeAsync();
    }

    private async Task WriteAsync(HttpResponse response, IMessage message, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        GrpcFraming.Write(response.BodyWriter, message, maxMessageBytes);
        await response.BodyWriter.FlushAsync(cancellationToken);
    }

    /// <summary>The status goes into the trailers, or, when no message was sent, into the headers ("Trailers-Only").</summary>
    private static void Finish(HttpResponse response, GrpcException? failure, GrpcMetadata metadata)
    {
        Action<string, string> append = response.HasStarted
            ? (name, value) => response.AppendTrailer(name, value)
            : (name, value) => response.Headers.Append(name, value);
        append(GrpcHeaders.Status, ((int)(failure?.Status ?? GrpcStatus.Ok)).ToString(CultureInfo.InvariantCulture));
        if (failure is not null)
        {
            append(GrpcHeaders.Message, GrpcHeaders.EncodeMessage(failure.Detail));
        }

        foreach (var (name, value) in metadata)
        {
            append(name, value);
        }
    }

    private sealed record Method(bool Streams, Func<HttpContext, GrpcCall, Task> Serve);
}
