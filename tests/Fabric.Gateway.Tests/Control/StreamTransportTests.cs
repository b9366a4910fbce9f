using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Fabric.Gateway.Control.Transport;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace Fabric.Gateway.Tests.Control;

/// <summary>Kestrel on streams, a unix socket and a loopback port in one host.</summary>
public sealed class StreamTransportTests : IAsyncLifetime
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private static readonly CatalogWatchRequest Watcher = new() { Gateway = "oslo-1" };

    private readonly StreamEndPoint _streams = new("tunnel", maxConnections: 3);
    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-control-").FullName;
    private readonly TaskCompletionSource _watchCancelled = new();
    private readonly WebApplication _app;

    public StreamTransportTests()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseControlTransport().ConfigureKestrel(kestrel =>
        {
            kestrel.ListenStreams(_streams);
            kestrel.ListenControlSocket(SocketPath);
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        var server = new GrpcServer(TimeProvider.System)
            .Unary(AdminMethods.Reload, (_, call) => Task.FromResult(new ReloadReply
            {
                Revision = call.Features.Get<PeerFeature>()?.Gateway ?? "nobody",
            }))
            .ServerStreaming(CatalogMethods.Watch, Watch);
        _app = builder.Build();
        _app.Run(server.InvokeAsync);
    }

    private string SocketPath => Path.Combine(_folder, "run", "fabricd.sock");

    public Task InitializeAsync() => _app.StartAsync();

    public async Task DisposeAsync()
    {
        await StopAsync();
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Streams_unix_socket_and_loopback_are_served_side_by_side()
    {
        var addresses = _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses;
        var port = addresses.Select(a => new Uri(a)).Single(a => a.Host == "127.0.0.1").Port;
        using var overStreams = GrpcHandler.OverStreams(_ => Task.FromResult(Open("paris-1")));
        using var overUnix = GrpcHandler.OverStreams(_ => ConnectAsync(new UnixDomainSocketEndPoint(SocketPath)));
        using var overTcp = GrpcHandler.OverStreams(_ => ConnectAsync(new IPEndPoint(IPAddress.Loopback, port)));

        Assert.Equal("paris-1", await ReloadAsync(overStreams));
        Assert.Equal("nobody", await ReloadAsync(overUnix));
        Assert.Equal("nobody", await ReloadAsync(overTcp));
    }

    [Fact]
    public async Task Peers_are_kept_apart_and_many_calls_share_one_stream()
    {
        var opened = 0;
        using var paris = GrpcHandler.OverStreams(_ => Task.FromResult(Open("paris-1", ref opened)));
        using var oslo = GrpcHandler.OverStreams(_ => Task.FromResult(Open("oslo-1", ref opened)));

        var names = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => ReloadAsync(i % 2 == 0 ? paris : oslo)));

        Assert.Equal(Enumerable.Range(0, 40).Select(i => i % 2 == 0 ? "paris-1" : "oslo-1"), names);
        Assert.Equal(2, opened);
        Assert.Equal(2, _streams.Connections);
    }

    [Fact]
    public async Task Serving_ends_and_disposes_the_stream_when_the_peer_goes()
    {
        var (near, far) = DuplexStream.Pair();
        var serving = _streams.ServeAsync(far, "paris-1");
        using (var invoker = GrpcHandler.OverStreams(_ => Task.FromResult<Stream>(near)))
        {
            await ReloadAsync(invoker);
            Assert.False(serving.IsCompleted);
        }

        await serving.WaitAsync(Limit);
        Assert.Equal(0, _streams.Connections);
        Assert.True(far.Disposed);
    }

    [Fact]
    public async Task Call_is_cancelled_when_its_stream_breaks()
    {
        var (near, far) = DuplexStream.Pair();
        var serving = _streams.ServeAsync(far, "paris-1");
        using var invoker = GrpcHandler.OverStreams(_ => Task.FromResult<Stream>(near));
        await using var updates = ClientOver(invoker).ServerStreamingAsync(CatalogMethods.Watch, Watcher).GetAsyncEnumerator();
        Assert.True(await updates.MoveNextAsync().AsTask().WaitAsync(Limit));

        far.Break();

        var failure = await Assert.ThrowsAsync<GrpcException>(() => updates.MoveNextAsync().AsTask().WaitAsync(Limit));
        Assert.Equal(GrpcStatus.Unavailable, failure.Status);
        await _watchCancelled.Task.WaitAsync(Limit);
        await serving.WaitAsync(Limit);
    }

    [Fact]
    public async Task Next_call_opens_a_new_stream_when_the_last_one_broke()
    {
        List<DuplexStream> opened = [];
        using var invoker = GrpcHandler.OverStreams(cancellationToken =>
        {
            var (near, far) = DuplexStream.Pair();
            opened.Add(far);
            _ = _streams.ServeAsync(far, $"paris-{opened.Count}");
            return Task.FromResult<Stream>(near);
        });
        await using var updates = ClientOver(invoker).ServerStreamingAsync(CatalogMethods.Watch, Watcher).GetAsyncEnumerator();
        Assert.True(await updates.MoveNextAsync().AsTask().WaitAsync(Limit));
        Assert.Equal("paris-1", await ReloadAsync(invoker));
        opened[0].Break();
        await Assert.ThrowsAsync<GrpcException>(() => updates.MoveNextAsync().AsTask().WaitAsync(Limit));

        Assert.Equal("paris-2", await ReloadAsync(invoker));
    }

    [Fact]
    public async Task Streams_above_the_limit_are_refused_and_disposed()
    {
        var held = Enumerable.Range(0, 3).Select(_ => DuplexStream.Pair()).ToArray();
        var serving = held.Select(p => _streams.ServeAsync(p.Far, "paris-1")).ToArray();
        var extra = DuplexStream.Pair().Far;

        var refusal = await Assert.ThrowsAsync<IOException>(() => _streams.ServeAsync(extra, "oslo-1").WaitAsync(Limit));

        Assert.Contains("serves 3 streams already", refusal.Message, StringComparison.Ordinal);
        Assert.True(extra.Disposed);
        Array.ForEach(held, p => p.Near.Dispose());
        await Task.WhenAll(serving).WaitAsync(Limit);
        Assert.Equal(0, _streams.Connections);
    }

    [Fact]
    public async Task Stopping_ends_what_is_served_and_refuses_what_comes_after()
    {
        var (near, far) = DuplexStream.Pair();
        var serving = _streams.ServeAsync(far, "paris-1");
        using var invoker = GrpcHandler.OverStreams(_ => Task.FromResult<Stream>(near));
        await using var updates = ClientOver(invoker).ServerStreamingAsync(CatalogMethods.Watch, Watcher).GetAsyncEnumerator();
        Assert.True(await updates.MoveNextAsync().AsTask().WaitAsync(Limit));

        await StopAsync().WaitAsync(Limit);

        await serving.WaitAsync(Limit);
        await Assert.ThrowsAsync<GrpcException>(() => updates.MoveNextAsync().AsTask().WaitAsync(Limit));
        await Assert.ThrowsAsync<IOException>(() => _streams.ServeAsync(DuplexStream.Pair().Far, "paris-1"));
        Assert.False(File.Exists(SocketPath));
    }

    [Fact]
    public async Task Refused_stream_is_unavailable_to_the_caller()
    {
        using var invoker = GrpcHandler.OverStreams(_ => throw new Fabric.Tunnel.StreamRefusedException(
            Fabric.Tunnel.StreamCode.NoLane, "no lane to paris-1"));

        var failure = await Assert.ThrowsAsync<GrpcException>(() => ReloadAsync(invoker));

        Assert.Equal(GrpcStatus.Unavailable, failure.Status);
    }

    private static GrpcClient ClientOver(HttpMessageInvoker invoker) =>
        new(invoker, GrpcHandler.StreamAuthority, TimeProvider.System);

    private static async Task<string> ReloadAsync(HttpMessageInvoker invoker) =>
        (await ClientOver(invoker).UnaryAsync(AdminMethods.Reload, new ReloadRequest()).WaitAsync(Limit)).Revision;

    private static async Task<Stream> ConnectAsync(EndPoint endPoint)
    {
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(endPoint);
        return new NetworkStream(socket, ownsSocket: true);
    }

    private async IAsyncEnumerable<CatalogUpdate> Watch(CatalogWatchRequest request, GrpcCall call)
    {
        yield return new CatalogUpdate { Sequence = 1 };
        using var noticed = call.Cancellation.Register(() => _watchCancelled.TrySetResult());
        await Task.Delay(Timeout.Infinite, call.Cancellation);
    }

    private Stream Open(string peer)
    {
        var (near, far) = DuplexStream.Pair();
        _ = _streams.ServeAsync(far, peer);
        return near;
    }

    private Stream Open(string peer, ref int opened)
    {
        Interlocked.Increment(ref opened);
        return Open(peer);
    }

    private async Task StopAsync()
    {
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
    }
}
