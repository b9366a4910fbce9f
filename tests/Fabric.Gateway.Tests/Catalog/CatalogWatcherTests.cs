using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Control.Transport;
using Fabric.Gateway.Tests.Control;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Tunnel;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Catalog;

/// <summary>Against a real Kestrel that is reached over streams, as peers reach it; what it says, each test says.</summary>
public sealed class CatalogWatcherTests : IAsyncLifetime
{
    private static readonly TimeSpan Silence = CatalogPublisher.Heartbeat * 5;
    private static readonly HashSet<string> Peers = ["virginia-1"];

    private readonly ManualTime _time = new();
    private readonly StreamEndPoint _streams = new("tunnel");
    private readonly Channel<Channel<CatalogUpdate>> _watches = Channel.CreateUnbounded<Channel<CatalogUpdate>>();
    private readonly Channel<string> _changes = Channel.CreateUnbounded<string>();
    private readonly WebApplication _app;
    private readonly CatalogWatcher _watcher;
    private volatile bool _reachable = true;
    private volatile DuplexStream? _far;

    public CatalogWatcherTests()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseControlTransport().ConfigureKestrel(kestrel => kestrel.ListenStreams(_streams));
        _app = builder.Build();
        _app.Run(new GrpcServer(TimeProvider.System).ServerStreaming(CatalogMethods.Watch, (_, call) => Serve(call.Cancellation)).InvokeAsync);
        _watcher = new CatalogWatcher("paris-1", _ => GrpcHandler.OverStreams(Open), p => _changes.Writer.TryWrite(p), _time, NullLogger.Instance);
    }

    public Task InitializeAsync() => _app.StartAsync();

    public async Task DisposeAsync()
    {
        await _watcher.DisposeAsync().AsTask().WaitAsync(Wait.Limit);
        using var now = new CancellationTokenSource(TimeSpan.Zero);
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }

    [Fact]
    public async Task What_the_peer_says_is_heard_and_told_and_a_heartbeat_only_makes_it_younger()
    {
        _watcher.Reconcile(Peers);
        var server = await NextWatchAsync();
        Say(server, 1, "web.shop");
        Assert.Equal("virginia-1", await ChangedAsync());
        Assert.Equal(["web.shop"], _watcher.Of("virginia-1")!.Services.Keys);
        var heard = _watcher.Of("virginia-1")!.Heard;

        _time.Advance(TimeSpan.FromSeconds(1));
        Say(server, 2);
        await Wait.UntilAsync(() => _watcher.Of("virginia-1")!.Heard > heard, () => "the heartbeat was heard");
        Assert.False(_changes.Reader.TryRead(out _));
        Assert.Null(_watcher.Of("oslo-1"));
    }

    [Fact]
    public async Task Lost_stream_is_watched_again_after_a_while_and_what_was_heard_stays()
    {
        _watcher.Reconcile(Peers);
        Say(await NextWatchAsync(), 1, "web.shop");
        await ChangedAsync();

        _far!.Break();
        await BackoffAsync(200);
        Assert.Equal(["web.shop"], _watcher.Of("virginia-1")!.Services.Keys);
        Say(await NextWatchAsync(), 1, "api.shop");
        await ChangedAsync();

        Assert.Equal(["api.shop"], _watcher.Of("virginia-1")!.Services.Keys);
    }

    [Fact]
    public async Task Silence_of_five_heartbeats_is_a_dead_watch()
    {
        _watcher.Reconcile(Peers);
        Say(await NextWatchAsync(), 1, "web.shop");
        await ChangedAsync();
        await Wait.UntilAsync(() => _time.HasTimerIn(Silence), () => "silence is measured");

        _time.Advance(Silence);
        await BackoffAsync(200);

        await NextWatchAsync();
    }

    [Fact]
    public async Task Gap_in_the_sequence_begins_a_new_watch()
    {
        _watcher.Reconcile(Peers);
        var server = await NextWatchAsync();
        Say(server, 1, "web.shop");
        await ChangedAsync();
        server.Writer.TryWrite(new CatalogUpdate { Sequence = 3, Removed = { "web.shop" } });
        await BackoffAsync(200);

        Assert.Equal(["web.shop"], _watcher.Of("virginia-1")!.Services.Keys);
        await NextWatchAsync();
    }

    [Fact]
    public async Task Retry_does_not_wait_for_the_backoff()
    {
        _reachable = false;
        _watcher.Reconcile(Peers);
        await Wait.UntilAsync(() => _time.HasTimerIn(TimeSpan.FromMilliseconds(200)), () => "it waits");

        _reachable = true;
        _watcher.Retry("oslo-1");
        _watcher.Retry("virginia-1");

        Say(await NextWatchAsync(), 1, "web.shop");
        await ChangedAsync();
    }

    [Fact]
    public async Task Backoff_doubles_up_to_its_limit()
    {
        _reachable = false;
        _watcher.Reconcile(Peers);
        foreach (var milliseconds in new[] { 200, 400, 800, 1600, 3000, 3000 })
        {
            await BackoffAsync(milliseconds);
        }
    }

    [Fact]
    public async Task Peer_that_is_not_planned_any_more_is_forgotten_and_its_call_ends()
    {
        _watcher.Reconcile(Peers);
        var server = await NextWatchAsync();
        Say(server, 1, "web.shop");
        await ChangedAsync();

        _watcher.Reconcile(new HashSet<string>());

        Assert.Null(_watcher.Of("virginia-1"));
        await server.Reader.Completion.WaitAsync(Wait.Limit);
    }

    private static void Say(Channel<CatalogUpdate> watch, ulong sequence, params string[] services) => watch.Writer.TryWrite(new CatalogUpdate
    {
        Sequence = sequence,
        Full = sequence == 1,
        Services = { services.Select(s => new ExportedService { Service = s }) },
    });

    private async Task<Stream> Open(CancellationToken cancellationToken)
    {
        await Task.Yield();
        if (!_reachable)
        {
            throw new StreamRefusedException(StreamCode.NoLane, "no lane to virginia-1 is up");
        }

        var (near, far) = DuplexStream.Pair();
        _far = far;
        _ = _streams.ServeAsync(far, "paris-1");
        return near;
    }

    /// <summary>One call of the watcher: says what the test writes into the channel, and completes it when the call ends.</summary>
    private async IAsyncEnumerable<CatalogUpdate> Serve([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var said = Channel.CreateUnbounded<CatalogUpdate>();
        _watches.Writer.TryWrite(said);
        using var ended = cancellationToken.Register(() => said.Writer.TryComplete());
        while (await said.Reader.WaitToReadAsync(CancellationToken.None))
        {
            if (said.Reader.TryRead(out var update))
            {
                yield return update;
            }
        }
    }

    private async Task<Channel<CatalogUpdate>> NextWatchAsync() => await _watches.Reader.ReadAsync().AsTask().WaitAsync(Wait.Limit);

    private async Task<string> ChangedAsync() => await _changes.Reader.ReadAsync().AsTask().WaitAsync(Wait.Limit);

    private async Task BackoffAsync(int milliseconds)
    {
        var backoff = TimeSpan.FromMilliseconds(milliseconds);
        await Wait.UntilAsync(() => _time.HasTimerIn(backoff), () => $"it waits for {milliseconds} ms");
        _time.Advance(backoff);
    }
}
