using System.Net;
using System.Runtime.CompilerServices;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Protocol.Proto.Health;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Fabric.Protocol.Tests.Grpc;

/// <summary>Our client against our server, over real sockets.</summary>
public sealed class GrpcCallTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private static readonly CatalogWatchRequest Watcher = new() { Gateway = "paris-1" };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Unary_call_is_answered(bool overUnixSocket)
    {
        await using var host = await GrpcHost.StartAsync(Server().Unary(
            AdminMethods.Reload, (_, _) => Task.FromResult(new ReloadReply { Revision = "r7", Changed = true })));

        var client = overUnixSocket ? host.ClientOverUnixSocket() : host.ClientOverTcp();
        var reply = await client.UnaryAsync(AdminMethods.Reload, new ReloadRequest()).WaitAsync(Limit);

        Assert.Equal(new ReloadReply { Revision = "r7", Changed = true }, reply);
    }

    [Fact]
    public async Task Messages_larger_than_the_connection_window_pass_both_ways()
    {
        await using var host = await GrpcHost.StartAsync(Server().Unary(
            AdminMethods.SetFault, (request, _) => Task.FromResult(new SetFaultReply { Links = (uint)request.Link.Length }))
            .Unary(AdminMethods.Reload, (_, _) => Task.FromResult(new ReloadReply { Revision = new string('r', 4_000_000) })));
        var client = host.ClientOverTcp();

        var up = await client
            .UnaryAsync(AdminMethods.SetFault, new SetFaultRequest { Link = new string('x', 4_000_000) }).WaitAsync(Limit);
        var down = await client.UnaryAsync(AdminMethods.Reload, new ReloadRequest()).WaitAsync(Limit);

        Assert.Equal(4_000_000u, up.Links);
        Assert.Equal(4_000_000, down.Revision.Length);
    }

    [Fact]
    public async Task Message_above_the_limit_is_refused_by_either_side()
    {
        await using var host = await GrpcHost.StartAsync(new GrpcServer(TimeProvider.System, maxMessageBytes: 1000)
            .Unary(AdminMethods.SetFault, (_, _) => Task.FromResult(new SetFaultReply()))
            .Unary(AdminMethods.Reload, (_, _) => Task.FromResult(new ReloadReply { Revision = new string('r', 900) })));
        var client = host.ClientOverTcp();

        var large = new SetFaultRequest { Link = new string('x', 2000) };
        await FailsAsync(GrpcStatus.ResourceExhausted, client.UnaryAsync(AdminMethods.SetFault, large));
        await FailsAsync(
            GrpcStatus.ResourceExhausted,
            client.UnaryAsync(AdminMethods.SetFault, large, new() { MaxMessageBytes = 100 }));
        await FailsAsync(
            GrpcStatus.ResourceExhausted,
            client.UnaryAsync(AdminMethods.Reload, new ReloadRequest(), new() { MaxMessageBytes = 100 }));
    }

    [Fact]
    public async Task Stream_is_pulled_as_it_is_read_and_ends_with_its_status()
    {
        await using var host = await GrpcHost.StartAsync(Server()
            .ServerStreaming(CatalogMethods.Watch, (_, call) => Count(3, call.Cancellation)));

        List<ulong> got = [];
        await foreach (var update in host.ClientOverTcp().ServerStreamingAsync(CatalogMethods.Watch, Watcher))
        {
            got.Add(update.Sequence);
        }

        Assert.Equal([1ul, 2, 3], got);
    }

    [Fact]
    public async Task Error_after_messages_comes_with_its_text_and_trailers()
    {
        await using var host = await GrpcHost.StartAsync(Server().ServerStreaming(CatalogMethods.Watch, Fail));

        List<ulong> got = [];
        var failure = await Assert.ThrowsAsync<GrpcException>(async () =>
        {
            await foreach (var update in host.ClientOverTcp().ServerStreamingAsync(CatalogMethods.Watch, Watcher))
            {
                got.Add(update.Sequence);
            }
        }).WaitAsync(Limit);

        Assert.Equal([1ul], got);
        Assert.Equal((GrpcStatus.Aborted, "100 % weg: λ ☂ 🜁\r\n"), (failure.Status, failure.Detail));
        Assert.Equal("dx", failure.Trailers.Get("link"));
        Assert.Equal([0, 255, 7], failure.Trailers.GetBinary("proof-bin"));

        static async IAsyncEnumerable<CatalogUpdate> Fail(CatalogWatchRequest request, GrpcCall call)
        {
            yield return new CatalogUpdate { Sequence = 1 };
            await Task.Yield();
            GrpcMetadata trailers = [];
            trailers.Add("link", "dx");
            trailers.AddBinary("proof-bin", [0, 255, 7]);
            throw new GrpcException(GrpcStatus.Aborted, "100 % weg: λ ☂ 🜁\r\n") { Trailers = trailers };
        }
    }

    [Fact]
    public async Task Metadata_reaches_the_handler_without_headers_of_the_protocol()
    {
        GrpcMetadata? seen = null;
        await using var host = await GrpcHost.StartAsync(Server().Unary(AdminMethods.Reload, (_, call) =>
        {
            seen = call.Metadata;
            return Task.FromResult(new ReloadReply());
        }));
        GrpcMetadata sent = [];
        sent.Add("who", "me");
        sent.AddBinary("id-bin", [1, 2, 250]);

        await host.ClientOverTcp()
            .UnaryAsync(AdminMethods.Reload, new(), new() { Metadata = sent, Timeout = Limit }).WaitAsync(Limit);

        Assert.Equal(["id-bin", "who"], seen!.Select(e => e.Key).Order());
        Assert.Equal("me", seen!.Get("who"));
        Assert.Equal([1, 2, 250], seen.GetBinary("id-bin"));
    }

    [Fact]
    public async Task Deadline_is_enforced_by_the_server_even_on_a_handler_that_does_not_notice()
    {
        var time = new Fabric.Testing.ManualTime();
        var entered = new TaskCompletionSource<GrpcCall>();
        await using var host = await GrpcHost.StartAsync(new GrpcServer(time).Unary(AdminMethods.Reload, (_, call) =>
        {
            entered.SetResult(call);
            return new TaskCompletionSource<ReloadReply>().Task;
        }));

        // The client's own clock does not move: the answer is the server's.
        var asked = host.ClientOverTcp(new Fabric.Testing.ManualTime())
            .UnaryAsync(AdminMethods.Reload, new(), new() { Timeout = TimeSpan.FromSeconds(5) });
        var call = await entered.Task.WaitAsync(Limit);
        Assert.Equal(time.GetUtcNow() + TimeSpan.FromSeconds(5), call.Deadline);
        Assert.False(call.Cancellation.IsCancellationRequested);
        time.Advance(TimeSpan.FromSeconds(5));

        Assert.Contains("00:00:05", (await FailsAsync(GrpcStatus.DeadlineExceeded, asked)).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Deadline_is_enforced_by_the_client_too()
    {
        var time = new Fabric.Testing.ManualTime();
        var (entered, cancelled) = (new TaskCompletionSource(), new TaskCompletionSource());
        await using var host = await GrpcHost.StartAsync(new GrpcServer(new Fabric.Testing.ManualTime()).Unary(
            AdminMethods.Reload,
            async (_, call) =>
            {
                using var noticed = call.Cancellation.Register(cancelled.SetResult);
                entered.SetResult();
                await cancelled.Task;
                return new ReloadReply();
            }));

        var asked = host.ClientOverTcp(time).UnaryAsync(AdminMethods.Reload, new(), new() { Timeout = TimeSpan.FromSeconds(5) });
        await entered.Task.WaitAsync(Limit);
        time.Advance(TimeSpan.FromSeconds(5));

        await FailsAsync(GrpcStatus.DeadlineExceeded, asked);
        await cancelled.Task.WaitAsync(Limit);
    }

    [Fact]
    public async Task Leaving_a_stream_early_cancels_its_handler()
    {
        var cancelled = new TaskCompletionSource();
        await using var host = await GrpcHost.StartAsync(Server().ServerStreaming(CatalogMethods.Watch, (_, call) =>
        {
            call.Cancellation.Register(cancelled.SetResult);
            return Count(int.MaxValue, call.Cancellation);
        }));

        await foreach (var update in host.ClientOverTcp().ServerStreamingAsync(CatalogMethods.Watch, Watcher))
        {
            if (update.Sequence == 5)
            {
                break;
            }
        }

        await cancelled.Task.WaitAsync(Limit);
    }

    [Fact]
    public async Task Callers_own_cancellation_is_no_grpc_failure()
    {
        var entered = new TaskCompletionSource();
        await using var host = await GrpcHost.StartAsync(Server().Unary(AdminMethods.Reload, async (_, call) =>
        {
            entered.SetResult();
            await Task.Delay(Timeout.Infinite, call.Cancellation);
            return new ReloadReply();
        }));
        using var giveUp = new CancellationTokenSource();

        var asked = host.ClientOverTcp().UnaryAsync(AdminMethods.Reload, new(), null, giveUp.Token);
        await entered.Task.WaitAsync(Limit);
        await giveUp.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asked.WaitAsync(Limit));
    }

    [Fact]
    public async Task What_a_handler_throws_is_not_told_to_the_client()
    {
        await using var host = await GrpcHost.StartAsync(Server().Unary(
            AdminMethods.Reload, (_, _) => throw new InvalidOperationException("/secret/path")));

        var failure = await FailsAsync(GrpcStatus.Unknown, host.ClientOverTcp().UnaryAsync(AdminMethods.Reload, new()));

        Assert.DoesNotContain("secret", failure.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unknown_method_is_unimplemented_and_names_itself()
    {
        await using var host = await GrpcHost.StartAsync(Server());

        var failure = await FailsAsync(GrpcStatus.Unimplemented, host.ClientOverTcp().UnaryAsync(AdminMethods.Reload, new()));

        Assert.Contains("/fabric.v1.Admin/Reload", failure.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Health_is_told_per_service()
    {
        await using var host = await GrpcHost.StartAsync(Server()
            .Health(name => name switch { "" => true, "a" => false, _ => null }));
        var client = host.ClientOverTcp();

        var whole = await client.UnaryAsync(HealthMethods.Check, new HealthCheckRequest()).WaitAsync(Limit);
        var one = await client.UnaryAsync(HealthMethods.Check, new HealthCheckRequest { Service = "a" }).WaitAsync(Limit);

        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, whole.Status);
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.NotServing, one.Status);
        await FailsAsync(GrpcStatus.NotFound, client.UnaryAsync(HealthMethods.Check, new HealthCheckRequest { Service = "b" }));
    }

    [Fact]
    public async Task No_server_is_unavailable()
    {
        using var invoker = Dial.Unix("/nonexistent/fabric.sock");
        var client = new GrpcClient(invoker, GrpcHandler.StreamAuthority, TimeProvider.System);

        await FailsAsync(GrpcStatus.Unavailable, client.UnaryAsync(AdminMethods.Reload, new()));
    }

    [Fact]
    public async Task Server_that_goes_in_mid_stream_is_unavailable()
    {
        var host = await GrpcHost.StartAsync(Server()
            .ServerStreaming(CatalogMethods.Watch, (_, call) => Silent(call.Cancellation)));
        await using var updates = host.ClientOverTcp().ServerStreamingAsync(CatalogMethods.Watch, Watcher).GetAsyncEnumerator();
        Assert.True(await updates.MoveNextAsync().AsTask().WaitAsync(Limit));

        var next = updates.MoveNextAsync().AsTask();
        await host.DisposeAsync();

        await Assert.ThrowsAsync<GrpcException>(() => next.WaitAsync(Limit));
    }

    [Theory]
    [InlineData("GET", "application/grpc", 2, HttpStatusCode.MethodNotAllowed)]
    [InlineData("POST", "application/json", 2, HttpStatusCode.UnsupportedMediaType)]
    [InlineData("POST", "application/grpcish", 2, HttpStatusCode.UnsupportedMediaType)]
    [InlineData("POST", "application/grpc", 1, HttpStatusCode.UpgradeRequired)]
    [InlineData("POST", "application/grpc+proto", 2, HttpStatusCode.OK)]
    public async Task What_is_not_grpc_gets_an_http_status(
        string method, string contentType, int version, HttpStatusCode expected)
    {
        await using var host = await GrpcHost.StartAsync(
            Server(), version == 1 ? HttpProtocols.Http1 : HttpProtocols.Http2);
        using var invoker = Dial.Tcp(host.Authority.Port);
        using var request = new HttpRequestMessage(new HttpMethod(method), new Uri(host.Authority, "/fabric.v1.Admin/Reload"))
        {
            Version = new Version(version, version == 1 ? 1 : 0),
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = method == "GET" ? null : new ByteArrayContent([]),
        };
        request.Content?.Headers.TryAddWithoutValidation("content-type", contentType);

        using var response = await invoker.SendAsync(request, default).WaitAsync(Limit);

        Assert.Equal(expected, response.StatusCode);
    }

    private static GrpcServer Server() => new(TimeProvider.System);

    [Fact]
    public async Task Streams_end_with_the_server_and_calls_of_one_reply_are_left_to_end()
    {
        using var stopping = new CancellationTokenSource();
        var reply = new TaskCompletionSource<ReloadReply>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var host = await GrpcHost.StartAsync(new GrpcServer(TimeProvider.System) { Stopping = stopping.Token }
            .ServerStreaming(CatalogMethods.Watch, (_, call) => Silent(call.Cancellation))
            .Unary(AdminMethods.Reload, (_, _) => reply.Task));
        var client = host.ClientOverTcp();
        var call = client.UnaryAsync(AdminMethods.Reload, new ReloadRequest());
        await using var watch = client.ServerStreamingAsync(CatalogMethods.Watch, Watcher).GetAsyncEnumerator();
        Assert.True(await watch.MoveNextAsync().AsTask().WaitAsync(Limit));

        await stopping.CancelAsync();
        await FailsAsync(GrpcStatus.Unavailable, watch.MoveNextAsync().AsTask());
        Assert.False(call.IsCompleted);
        reply.SetResult(new ReloadReply { Revision = "r8" });
        Assert.Equal("r8", (await call.WaitAsync(Limit)).Revision);
    }

    private static async IAsyncEnumerable<CatalogUpdate> Count(
        int to, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (var i = 1; i <= to; i++)
        {
            await Task.Yield();
            cancellationToken.ThrowIfCancellationRequested();
            yield return new CatalogUpdate { Sequence = (ulong)i };
        }
    }

    private static async IAsyncEnumerable<CatalogUpdate> Silent([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        yield return new CatalogUpdate { Sequence = 1 };
        await Task.Delay(Timeout.Infinite, cancellationToken);
    }

    private static async Task<GrpcException> FailsAsync<T>(GrpcStatus status, Task<T> call)
    {
        var failure = await Assert.ThrowsAsync<GrpcException>(() => call.WaitAsync(Limit));
        Assert.True(status == failure.Status, $"expected {status}: {failure}");
        return failure;
    }
}
