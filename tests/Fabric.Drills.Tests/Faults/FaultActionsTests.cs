using System.Collections.Concurrent;
using System.Net;
using Fabric.Drills.Faults;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Fabric.Drills.Tests.Faults;

/// <summary>Against an admin API on a real socket that keeps what it was asked.</summary>
public sealed class FaultActionsTests : IAsyncLifetime
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);
    private static readonly LinkFault CutDx = new("dx", "virginia-1");

    private readonly ConcurrentQueue<string> _asked = new();
    private readonly ManualTime _time = new();
    private readonly WebApplication _app;
    private readonly SemaphoreSlim _cleared = new(0);
    private SocketsHttpHandler? _handler;
    private HttpMessageInvoker? _invoker;
    private Func<SetFaultRequest, GrpcCall, Task> _behave = (_, _) => Task.CompletedTask;

    public FaultActionsTests()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.ConfigureKestrel(
            kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2));
        _app = builder.Build();
        var server = new GrpcServer(TimeProvider.System).Unary(AdminMethods.SetFault, async (request, call) =>
        {
            _asked.Enqueue($"{request.Link}/{request.Peer}:{request.Fault}");
            await _behave(request, call);
            if (request.Fault.Length == 0)
            {
                _cleared.Release();
            }

            return new SetFaultReply { Links = 1 };
        });
        _app.Run(server.InvokeAsync);
    }

    public async Task InitializeAsync()
    {
        await _app.StartAsync();
        _handler = new SocketsHttpHandler { UseProxy = false };
        _invoker = new HttpMessageInvoker(_handler);
    }

    public async Task DisposeAsync()
    {
        _invoker!.Dispose();
        await _app.DisposeAsync();
    }

    [Fact]
    public async Task Fault_is_set_on_a_whole_link_and_cleared_when_disposed()
    {
        await using (var fault = await Actions().InjectAsync(CutDx, TimeSpan.FromMinutes(1), default).WaitAsync(Limit))
        {
            Assert.Equal(["dx/virginia-1:", "dx/virginia-1:cut"], _asked);
            await fault.RevertAsync();
            Assert.False(fault.Expired);
        }

        Assert.Equal(["dx/virginia-1:", "dx/virginia-1:cut", "dx/virginia-1:"], _asked);
    }

    [Theory]
    [InlineData(FaultKind.CutIn, "cut-in")]
    [InlineData(FaultKind.CutOut, "cut-out")]
    public async Task Kinds_are_named_as_the_api_names_them(FaultKind kind, string name)
    {
        await using var fault = await Actions().InjectAsync(
            new LinkFault("dx", "", kind), TimeSpan.FromMinutes(1), default).WaitAsync(Limit);

        Assert.Equal($"dx/:{name}", _asked.Last());
    }

    [Fact]
    public async Task Fault_is_cleared_when_the_drill_is_cancelled()
    {
        using var drill = new CancellationTokenSource();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await using var fault = await Actions().InjectAsync(CutDx, TimeSpan.FromMinutes(1), drill.Token);
            await drill.CancelAsync();
            drill.Token.ThrowIfCancellationRequested();
        }).WaitAsync(Limit);

        Assert.Equal("dx/virginia-1:", _asked.Last());
        Assert.Equal(3, _asked.Count);
    }

    [Fact]
    public async Task Fault_whose_injection_was_cancelled_half_way_is_cleared()
    {
        using var drill = new CancellationTokenSource();
        _behave = async (request, call) =>
        {
            if (request.Fault.Length > 0)
            {
                await drill.CancelAsync();
                await Task.Delay(Timeout.Infinite, call.Cancellation);
            }
        };

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => Actions().InjectAsync(CutDx, TimeSpan.FromMinutes(1), drill.Token).WaitAsync(Limit));

        Assert.Equal(["dx/virginia-1:", "dx/virginia-1:cut", "dx/virginia-1:"], _asked);
    }

    [Fact]
    public async Task Fault_ends_at_its_limit_even_if_nobody_ends_it()
    {
        await using var fault = await Actions().InjectAsync(CutDx, TimeSpan.FromMinutes(1), default).WaitAsync(Limit);
        await _cleared.WaitAsync(Limit);

        _time.Advance(TimeSpan.FromSeconds(59));
        Assert.False(fault.Expired);
        _time.Advance(TimeSpan.FromSeconds(1));

        Assert.True(await _cleared.WaitAsync(Limit));
        Assert.True(fault.Expired);
        Assert.Equal("dx/virginia-1:", _asked.Last());
    }

    [Fact]
    public async Task Clearing_is_tried_again_until_it_is_done()
    {
        var fault = await Actions(TimeProvider.System).InjectAsync(CutDx, TimeSpan.FromMinutes(1), default).WaitAsync(Limit);
        var failures = 2;
        _behave = (_, _) => failures-- > 0 ? throw new GrpcException(GrpcStatus.Unavailable, "busy") : Task.CompletedTask;

        await fault.DisposeAsync().AsTask().WaitAsync(Limit);

        Assert.Equal(5, _asked.Count);
    }

    [Fact]
    public async Task Fault_that_cannot_be_cleared_is_told_loudly()
    {
        var fault = await Actions(TimeProvider.System).InjectAsync(CutDx, TimeSpan.FromMinutes(1), default).WaitAsync(Limit);
        _behave = (_, _) => throw new GrpcException(GrpcStatus.Unavailable, "busy");

        var failure = await Assert.ThrowsAsync<FaultNotRevertedException>(() => fault.DisposeAsync().AsTask().WaitAsync(Limit));

        Assert.Contains("'cut dx to virginia-1' may still be in force", failure.Message, StringComparison.Ordinal);
        Assert.Equal(2 + 5, _asked.Count);
    }

    [Fact]
    public async Task Link_that_is_gone_needs_no_clearing()
    {
        var fault = await Actions().InjectAsync(CutDx, TimeSpan.FromMinutes(1), default).WaitAsync(Limit);
        _behave = (_, _) => throw new GrpcException(GrpcStatus.NotFound, "no link");

        await fault.DisposeAsync().AsTask().WaitAsync(Limit);

        Assert.Equal(3, _asked.Count);
    }

    [Fact]
    public async Task Refusal_breaks_nothing_and_is_told_as_it_is()
    {
        _behave = (_, _) => throw new GrpcException(GrpcStatus.PermissionDenied, "not started with --allow-faults");

        var failure = await Assert.ThrowsAsync<GrpcException>(
            () => Actions().InjectAsync(CutDx, TimeSpan.FromMinutes(1), default).WaitAsync(Limit));

        Assert.Equal(GrpcStatus.PermissionDenied, failure.Status);
        Assert.Equal(["dx/virginia-1:"], _asked);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(601)]
    public async Task Fault_without_a_sound_limit_is_refused(int seconds)
    {
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(
            () => Actions().InjectAsync(CutDx, TimeSpan.FromSeconds(seconds), default));
        Assert.Empty(_asked);
    }

    private FaultActions Actions(TimeProvider? time = null) =>
        new(new GrpcClient(_invoker!, new Uri(_app.Urls.Single()), TimeProvider.System), time ?? _time);
}
