using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Protocol.Proto.Health;
using Fabric.Testing;

namespace Fabric.Protocol.Tests.Grpc;

/// <summary>Against grpcio: its clients on our server, and our client on its servers.</summary>
public sealed class GrpcInteropTests : IAsyncLifetime
{
    private const string Unicode = "100 % weg: λ ☂ 🜁";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly List<Process> _started = [];
    private readonly TaskCompletionSource _cancelled = new();
    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-interop-").FullName;
    private GrpcHost? _host;

    public async Task InitializeAsync() => _host = await GrpcHost.StartAsync(new GrpcServer(TimeProvider.System)
        .Unary(AdminMethods.Reload, (_, call) =>
        {
            call.Trailers.AddBinary("seen-bin", call.Metadata.GetBinary("id-bin"));
            return Task.FromResult(
                new ReloadReply { Revision = call.Metadata.Get("who") ?? "", Changed = call.Deadline is not null });
        })
        .Unary(AdminMethods.SetFault, (_, _) => throw InvalidArgument())
        .Unary(AdminMethods.Drain, async (_, call) =>
        {
            using var noticed = call.Cancellation.Register(() => _cancelled.TrySetResult());
            await Task.Delay(Timeout.Infinite, call.Cancellation);
            return new DrainReply();
        })
        .ServerStreaming(CatalogMethods.Watch, (request, call) => Watch(request.Gateway, call.Cancellation))
        .Health(name => name.Length == 0 ? true : null));

    public async Task DisposeAsync()
    {
        foreach (var process in _started)
        {
            if (!process.HasExited)
            {
                process.Kill();
            }

            process.Dispose();
        }

        await _host!.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [RequiresTheory("python3-grpcio")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Their_client_gets_a_reply_and_metadata_both_ways(bool overUnixSocket)
    {
        var seen = await AskAsync("unary", overUnixSocket);

        Assert.Equal("OK", seen.GetProperty("code").GetString());
        Assert.Equal("me", seen.GetProperty("revision").GetString());
        Assert.True(seen.GetProperty("changed").GetBoolean());
        Assert.Equal(
            [0, 255, 7], seen.GetProperty("trailers").GetProperty("seen-bin").EnumerateArray().Select(b => b.GetInt32()));
    }

    [RequiresTheory("python3-grpcio")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Their_client_gets_a_stream(bool overUnixSocket) =>
        Assert.Equal([1, 2, 3], SequencesOf(await AskAsync("stream", overUnixSocket)));

    [RequiresFact("python3-grpcio")]
    public async Task Their_client_gets_an_error_after_messages()
    {
        var seen = await AskAsync("stream-error");

        Assert.Equal([1, 2], SequencesOf(seen));
        AssertFailure("INVALID_ARGUMENT", Unicode, seen);
    }

    [RequiresTheory("python3-grpcio")]
    [InlineData("error", "INVALID_ARGUMENT", Unicode)]
    [InlineData("unknown", "UNIMPLEMENTED", "no method /no.Such/Method here")]
    [InlineData("gzip", "UNIMPLEMENTED", "the message is compressed: only identity is spoken here")]
    [InlineData("large", "RESOURCE_EXHAUSTED", "the message has 5242885 bytes: at most 4194304 are taken")]
    public async Task Their_client_gets_errors_as_they_are(string scenario, string code, string details) =>
        AssertFailure(code, details, await AskAsync(scenario));

    [RequiresFact("python3-grpcio")]
    public async Task Their_client_gets_trailers_of_an_error() =>
        Assert.Equal("dx", (await AskAsync("error")).GetProperty("trailers").GetProperty("link").GetString());

    [RequiresFact("python3-grpcio")]
    public async Task Their_deadline_cancels_our_handler()
    {
        Assert.Equal("DEADLINE_EXCEEDED", (await AskAsync("deadline")).GetProperty("code").GetString());
        await _cancelled.Task.WaitAsync(Limit);
    }

    [RequiresFact("python3-grpcio")]
    public async Task Their_cancellation_cancels_our_handler()
    {
        var seen = await AskAsync("cancel");

        Assert.Equal(1, seen.GetProperty("first").GetInt32());
        Assert.Equal("CANCELLED", seen.GetProperty("code").GetString());
        await _cancelled.Task.WaitAsync(Limit);
    }

    [RequiresFact("python3-grpcio")]
    public async Task Their_probe_reads_our_health()
    {
        var seen = await AskAsync("health");

        Assert.Equal(1, seen.GetProperty("status").GetInt32());
        Assert.Equal("NOT_FOUND", seen.GetProperty("other").GetString());
    }

    [RequiresTheory("python3-grpcio")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Our_client_gets_a_reply_and_their_server_our_metadata(bool overUnixSocket)
    {
        await using var peer = await PeerAsync(overUnixSocket);
        GrpcMetadata metadata = [];
        metadata.Add("who", "us");

        var reply = await peer.Client
            .UnaryAsync(AdminMethods.Reload, new(), new() { Metadata = metadata, Timeout = Limit }).WaitAsync(Limit);
        var large = await peer.Client
            .UnaryAsync(AdminMethods.SetFault, new() { Link = new string('x', 3_000_000) }).WaitAsync(Limit);

        Assert.Equal(new ReloadReply { Revision = "us", Changed = true }, reply);
        Assert.Equal(3_000_000u, large.Links);
    }

    [RequiresFact("python3-grpcio")]
    public async Task Our_client_gets_their_stream_and_its_error()
    {
        await using var peer = await PeerAsync();

        Assert.Equal(Enumerable.Range(1, 500).Select(i => (ulong)i), await peer.SequencesAsync("500"));
        var failure = await Assert.ThrowsAsync<GrpcException>(() => peer.SequencesAsync("2"));
        Assert.Equal((GrpcStatus.Aborted, Unicode), (failure.Status, failure.Detail));
    }

    [RequiresFact("python3-grpcio")]
    public async Task Our_client_gets_their_errors_with_trailers()
    {
        await using var peer = await PeerAsync();

        var failure = await Assert.ThrowsAsync<GrpcException>(
            () => peer.Client.UnaryAsync(AdminMethods.SetFault, new() { Link = "dx" }).WaitAsync(Limit));
        var unknown = await Assert.ThrowsAsync<GrpcException>(
            () => peer.Client.UnaryAsync(HealthMethods.Check, new HealthCheckRequest()).WaitAsync(Limit));

        Assert.Equal((GrpcStatus.InvalidArgument, Unicode), (failure.Status, failure.Detail));
        Assert.Equal("dx", failure.Trailers.Get("link"));
        Assert.Equal(GrpcStatus.Unimplemented, unknown.Status);
    }

    [RequiresFact("python3-grpcio")]
    public async Task Our_deadline_and_our_cancellation_reach_their_server()
    {
        await using var peer = await PeerAsync();

        var failure = await Assert.ThrowsAsync<GrpcException>(() => peer.Client
            .UnaryAsync(AdminMethods.Drain, new(), new() { Timeout = TimeSpan.FromSeconds(0.3) }).WaitAsync(Limit));
        Assert.Equal(GrpcStatus.DeadlineExceeded, failure.Status);
        Assert.Equal("cancelled", await peer.LineAsync());

        await foreach (var update in peer.Client.ServerStreamingAsync(CatalogMethods.Watch, new() { Gateway = "forever" }))
        {
            Assert.Equal(1ul, update.Sequence);
            break;
        }

        Assert.Equal("cancelled", await peer.LineAsync());
    }

    [RequiresFact("python3-grpcio")]
    public async Task Their_server_gone_is_unavailable()
    {
        await using var peer = await PeerAsync();
        await peer.Client.UnaryAsync(AdminMethods.Reload, new()).WaitAsync(Limit);
        await peer.StopAsync();

        var failure = await Assert.ThrowsAsync<GrpcException>(
            () => peer.Client.UnaryAsync(AdminMethods.Reload, new()).WaitAsync(Limit));

        Assert.Equal(GrpcStatus.Unavailable, failure.Status);
    }

    private static GrpcException InvalidArgument()
    {
        GrpcMetadata trailers = [];
        trailers.Add("link", "dx");
        return new GrpcException(GrpcStatus.InvalidArgument, Unicode) { Trailers = trailers };
    }

    private async IAsyncEnumerable<CatalogUpdate> Watch(
        string which, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        yield return new CatalogUpdate { Sequence = 1 };
        if (which == "forever")
        {
            using var noticed = cancellationToken.Register(() => _cancelled.TrySetResult());
            await Task.Delay(Timeout.Infinite, cancellationToken);
        }

        yield return new CatalogUpdate { Sequence = 2 };
        yield return which == "fail" ? throw InvalidArgument() : new CatalogUpdate { Sequence = 3 };
    }

    private static IEnumerable<int> SequencesOf(JsonElement seen) =>
        seen.GetProperty("sequences").EnumerateArray().Select(s => s.GetInt32());

    private static void AssertFailure(string code, string details, JsonElement seen) =>
        Assert.Equal((code, details), (seen.GetProperty("code").GetString(), seen.GetProperty("details").GetString()));

    private static string Descriptors => string.Join(',', new[]
    {
        // What others import comes first.
        TrustReflection.Descriptor, AdminReflection.Descriptor, CatalogReflection.Descriptor, HealthReflection.Descriptor,
    }.Select(d => d.SerializedData.ToBase64()));

    /// <summary>Runs their client against our server, and returns what it saw.</summary>
    private async Task<JsonElement> AskAsync(string scenario, bool overUnixSocket = false)
    {
        var target = overUnixSocket ? $"unix:{_host!.SocketPath}" : $"127.0.0.1:{_host!.Authority.Port}";
        var python = Start("client", target, scenario, Descriptors);
        var output = await python.StandardOutput.ReadToEndAsync().WaitAsync(Limit);
        return JsonDocument.Parse(output).RootElement;
    }

    private async Task<Peer> PeerAsync(bool overUnixSocket = false)
    {
        var path = Path.Combine(_folder, "python");
        var python = Start("server", overUnixSocket ? $"unix:{path}" : "127.0.0.1:0", Descriptors);
        var port = int.Parse((await python.StandardOutput.ReadLineAsync().WaitAsync(Limit))!, CultureInfo.InvariantCulture);
        return new Peer(python, overUnixSocket ? Dial.Unix(path) : Dial.Tcp(port));
    }

    private Process Start(params string[] arguments)
    {
        var script = Path.Combine(AppContext.BaseDirectory, "Grpc", "grpc_peer.py");
        var process = Process.Start(new ProcessStartInfo("/usr/bin/python3", [script, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        _started.Add(process);
        return process;
    }

    /// <summary>A server of theirs, and our client on it.</summary>
    private sealed class Peer(Process python, HttpMessageInvoker invoker) : IAsyncDisposable
    {
        public GrpcClient Client { get; } = new(invoker, GrpcHandler.StreamAuthority, TimeProvider.System);

        public async Task<string?> LineAsync() => await python.StandardOutput.ReadLineAsync().WaitAsync(Limit);

        public async Task<ulong[]> SequencesAsync(string which)
        {
            List<ulong> got = [];
            await foreach (var update in Client.ServerStreamingAsync(CatalogMethods.Watch, new() { Gateway = which }))
            {
                got.Add(update.Sequence);
            }

            return [.. got];
        }

        public async Task StopAsync()
        {
            python.StandardInput.Close();
            await python.WaitForExitAsync().WaitAsync(Limit);
        }

        public ValueTask DisposeAsync()
        {
            invoker.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
