using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using Google.Protobuf;

namespace Fabric.Protocol.Grpc;

/// <summary>What a call may say beyond its request.</summary>
public sealed record GrpcCallOptions
{
    /// <summary>How long the whole call may take; it is told to the server as well. Null: for ever.</summary>
    public TimeSpan? Timeout { get; init; }

    public GrpcMetadata Metadata { get; init; } = [];

    /// <summary>Largest message taken or sent: RESOURCE_EXHAUSTED above it.</summary>
    public int MaxMessageBytes { get; init; } = GrpcFraming.DefaultMaxMessageBytes;
}

/// <summary>
/// Calls unary and server-streaming methods of any gRPC server over HTTP/2. Safe for many calls at once. A call that fails
/// throws <see cref="GrpcException"/>: UNAVAILABLE when no connection could be had or it broke, DEADLINE_EXCEEDED after the
/// timeout. The caller's own cancellation is an <see cref="OperationCanceledException"/>, and resets the call at the server.
/// </summary>
/// <param name="invoker">Carries HTTP/2 without a proxy, as <see cref="GrpcHandler"/> makes it; the caller disposes it.</param>
/// <param name="authority">Scheme, host and port, such as <c>http://127.0.0.1:9000</c>.</param>
/// <param name="time">Clock of the timeouts.</param>
public sealed class GrpcClient(HttpMessageInvoker invoker, Uri authority, TimeProvider time)
{
    public async Task<TReply> UnaryAsync<TRequest, TReply>(
        GrpcMethod<TRequest, TReply> method,
        TRequest request,
        GrpcCallOptions? options = null,
        CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>, new()
        where TReply : class, IMessage<TReply>, new()
    {
        TReply? only = null;
        await foreach (var reply in ServerStreamingAsync(method, request, options, cancellationToken))
        {
            only = only is null ? reply
                : throw new GrpcException(GrpcStatus.Unimplemented, $"{method.Path} answered twice: one reply was expected");
        }

        return only ?? throw new GrpcException(GrpcStatus.Unimplemented, $"{method.Path} ended well without its reply");
    }

    /// <summary>The replies as they come. Leaving the loop early resets the call at the server.</summary>
    public async IAsyncEnumerable<TReply> ServerStreamingAsync<TRequest, TReply>(
        GrpcMethod<TRequest, TReply> method,
        TRequest request,
        GrpcCallOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
        where TRequest : class, IMessage<TRequest>, new()
        where TReply : class, IMessage<TReply>, new()
    {
        options ??= new GrpcCallOptions();
        using var deadline = options.Timeout is { } timeout
            ? new CancellationTokenSource(timeout < TimeSpan.Zero ? TimeSpan.Zero : timeout, time)
            : new CancellationTokenSource();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        using var message = RequestOf(method.Path, request, options);

        using var response = await TranslatedAsync(
            () => invoker.SendAsync(message, either.Token), deadline.Token, cancellationToken);
        CheckResponse(response);
        var body = PipeReader.Create(await TranslatedAsync(
            () => response.Content.ReadAsStreamAsync(either.Token), deadline.Token, cancellationToken));
        try
        {
            while (await TranslatedAsync(
                () => GrpcFraming.ReadAsync(body, method.ReplyParser, options.MaxMessageBytes, either.Token).AsTask(),
                deadline.Token, cancellationToken) is { } reply)
            {
                yield return reply;
            }
        }
        finally
        {
            await body.CompleteAsync();
        }

        // "Trailers-Only" has the status in the headers, and was checked there.
        if (!response.Headers.Contains(GrpcHeaders.Status))
        {
            CheckStatus(response.TrailingHeaders);
        }
    }

    private HttpRequestMessage RequestOf(string path, IMessage request, GrpcCallOptions options)
    {
        var framed = new ArrayBufferWriter<byte>(GrpcFraming.PrefixLength + request.CalculateSize());
        GrpcFraming.Write(framed, request, options.MaxMessageBytes);
        var message = new HttpRequestMessage(HttpMethod.Post, new Uri(authority, path))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ReadOnlyMemoryContent(framed.WrittenMemory),
        };
        message.Content.Headers.ContentType = new MediaTypeHeaderValue(GrpcHeaders.ContentType);
        message.Headers.TE.Add(new TransferCodingWithQualityHeaderValue("trailers"));
        message.Headers.TryAddWithoutValidation(GrpcHeaders.AcceptEncoding, "identity");
        if (options.Timeout is { } timeout)
        {
            message.Headers.TryAddWithoutValidation(GrpcHeaders.Timeout, GrpcHeaders.FormatTimeout(timeout));
        }

        foreach (var (name, value) in options.Metadata)
        {
            message.Headers.TryAddWithoutValidation(name, value);
        }

        return message;
    }

    /// <summary>Runs one step of the call, and says in gRPC's words how it failed.</summary>
    private static async Task<T> TranslatedAsync<T>(Func<Task<T>> step, CancellationToken deadline, CancellationToken caller)
    {
        try
        {
            return await step();
        }
        catch (Exception e) when (e is not GrpcException)
        {
            caller.ThrowIfCancellationRequested();
            throw deadline.IsCancellationRequested
                ? new GrpcException(GrpcStatus.DeadlineExceeded, "no answer came in time", e)
                : new GrpcException(StatusOf(e), e.Message, e);
        }
    }

    /// <summary>Source: gRPC PROTOCOL-HTTP2.md, "Errors".</summary>
    private static GrpcStatus StatusOf(Exception e)
    {
        const int noError = 0, refusedStream = 7, cancel = 8, enhanceYourCalm = 11, inadequateSecurity = 12;
        return (e as HttpProtocolException ?? e.InnerException as HttpProtocolException)?.ErrorCode switch
        {
            null or noError or refusedStream => GrpcStatus.Unavailable,
            cancel => GrpcStatus.Cancelled,
            enhanceYourCalm => GrpcStatus.ResourceExhausted,
            inadequateSecurity => GrpcStatus.PermissionDenied,
            _ => GrpcStatus.Internal,
        };
    }

    /// <summary>Source: gRPC http-grpc-status-mapping.md.</summary>
    private static void CheckResponse(HttpResponseMessage response)
    {
        if (response.Headers.Contains(GrpcHeaders.Status))
        {
            CheckStatus(response.Headers);
        }
        else if (response.StatusCode != HttpStatusCode.OK)
        {
            throw new GrpcException(
                response.StatusCode switch
                {
                    HttpStatusCode.BadRequest => GrpcStatus.Internal,
                    HttpStatusCode.Unauthorized => GrpcStatus.Unauthenticated,
                    HttpStatusCode.Forbidden => GrpcStatus.PermissionDenied,
                    HttpStatusCode.NotFound => GrpcStatus.Unimplemented,
                    HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable
                        or HttpStatusCode.GatewayTimeout => GrpcStatus.Unavailable,
                    _ => GrpcStatus.Unknown,
                },
                $"HTTP status {(int)response.StatusCode} without {GrpcHeaders.Status}");
        }
        else if (!GrpcHeaders.IsGrpc(response.Content.Headers.ContentType?.ToString()))
        {
            throw new GrpcException(GrpcStatus.Unknown, $"content type is '{response.Content.Headers.ContentType}', not gRPC");
        }
    }

    private static void CheckStatus(HttpResponseHeaders headers)
    {
        var text = headers.TryGetValues(GrpcHeaders.Status, out var statuses) ? statuses.Last() : null;
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var code))
        {
            throw new GrpcException(GrpcStatus.Unknown, $"{GrpcHeaders.Status} is '{text}': a number was expected");
        }

        if (code == (int)GrpcStatus.Ok)
        {
            return;
        }

        GrpcMetadata trailers = [];
        foreach (var (name, values) in headers.NonValidated)
        {
            foreach (var value in values)
            {
                trailers.AddReceived(name, value);
            }
        }

        var detail = headers.NonValidated.TryGetValues(GrpcHeaders.Message, out var messages) ? messages.ToString() : "";
        var status = code <= (int)GrpcStatus.Unauthenticated ? (GrpcStatus)code : GrpcStatus.Unknown;
        throw new GrpcException(status, GrpcHeaders.DecodeMessage(detail)) { Trailers = trailers };
    }
}
