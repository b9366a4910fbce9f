using System.Net;
using System.Security.Cryptography;
using Fabric.Identity.Authority;
using Fabric.Identity.Sources;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto.Workload;
using Fabric.Testing;
using Google.Protobuf;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Fabric.Identity.Tests.Sources;

/// <summary>A SPIFFE Workload API, as its standard describes it: gRPC without TLS on a unix socket.</summary>
public sealed class WorkloadSourceTests : SourceContract
{
    private protected override Subject Create() => new WorkloadSubject();

    [Fact]
    public async Task Call_carries_the_header_that_the_standard_asks_for()
    {
        await using var subject = await WorkloadSubject.StartedAsync();
        await using var source = subject.Source;
        Assert.Equal(Subject.Id, new GatewayIdentity(await source.NextAsync(null, default), subject.Mesh.Time).Id);
        Assert.Equal("true", subject.Headers);
        Assert.Equal($"spiffe unix:{subject.Socket}", source.Name);
    }

    [Fact]
    public async Task Over_TCP_it_is_the_same()
    {
        await using var subject = await WorkloadSubject.StartedAsync(overTcp: true);
        await using var source = subject.Source;
        Assert.NotNull(await source.NextAsync(null, default));
        Assert.StartsWith("spiffe 127.0.0.1:", source.Name);
    }

    [Fact]
    public async Task Of_several_gateways_the_first_is_this_one_and_remains_so()
    {
        await using var subject = await WorkloadSubject.StartedAsync();
        await using var source = subject.Source;
        var another = Subject.Id with { Gateway = "paris-b" };
        subject.More = [another];
        subject.Tell();
        var self = new GatewayIdentity(await source.NextAsync(null, default), subject.Mesh.Time);
        Assert.Equal(another, self.Id);

        subject.More = [Subject.Id, another];
        subject.Tell();
        Assert.Equal(another, new GatewayIdentity(await source.NextAsync(self, default).WaitAsync(Wait.Limit), subject.Mesh.Time).Id);

        subject.More = [];
        subject.Tell();
        var e = await Assert.ThrowsAsync<JoinException>(() => source.NextAsync(self, default).WaitAsync(Wait.Limit));
        Assert.Contains($"gives 2 SVIDs (spiffe://acme.example/workload/web, {Subject.Id}), and none names {another}", e.Message);
    }

    [Fact]
    public async Task Denial_is_told_with_what_to_do_and_tried_again()
    {
        await using var subject = await WorkloadSubject.StartedAsync();
        await using var source = subject.Source;
        subject.Denied = true;
        var e = await Assert.ThrowsAsync<JoinException>(() => source.NextAsync(null, default));
        Assert.Equal(JoinFailure.NotAdmitted, e.Failure);
        Assert.Contains("no identity issued", e.Message);
        Assert.Contains("registration entry", e.Message);
        subject.Denied = false;
        Assert.NotNull(await source.NextAsync(null, default));
    }

    [Fact]
    public async Task Server_that_says_nothing_is_given_up_at_first_after_30_s_and_later_at_three_quarters_of_the_life()
    {
        await using var subject = await WorkloadSubject.StartedAsync();
        await using var source = subject.Source;
        var self = new GatewayIdentity(await source.NextAsync(null, default), subject.Mesh.Time);
        var waiting = source.NextAsync(self, default);
        subject.Mesh.Time.Advance(TimeSpan.FromHours(17));
        Assert.False(waiting.IsCompleted);
        subject.Mesh.Time.Advance(TimeSpan.FromHours(2));
        Assert.Equal(JoinFailure.Timeout, (await Assert.ThrowsAsync<JoinException>(() => waiting.WaitAsync(Wait.Limit))).Failure);

        subject.Silent = true;
        waiting = source.NextAsync(self, default);
        await Wait.UntilAsync(() => subject.Calls == 2, () => "the second call has come");
        subject.Mesh.Time.Advance(TimeSpan.FromSeconds(30));
        var e = await Assert.ThrowsAsync<JoinException>(() => waiting.WaitAsync(Wait.Limit));
        Assert.Equal(JoinFailure.Timeout, e.Failure);
        Assert.Contains("has said nothing for 30 s", e.Message);
    }

    [Fact]
    public async Task Key_that_is_not_on_P256_is_refused()
    {
        await using var subject = await WorkloadSubject.StartedAsync();
        await using var source = subject.Source;
        using var rsa = RSA.Create(2048);
        subject.Change = svid => svid.X509SvidKey = ByteString.CopyFrom(rsa.ExportPkcs8PrivateKey());
        subject.Tell();
        var e = await Assert.ThrowsAsync<JoinException>(() => source.NextAsync(null, default));
        Assert.Equal(JoinFailure.Protocol, e.Failure);
        Assert.Contains("malformed", e.Message);
    }

    [Theory]
    [InlineData("unix:///run/spire/agent.sock", "spiffe unix:/run/spire/agent.sock")]
    [InlineData("unix:/run/spire/agent.sock", "spiffe unix:/run/spire/agent.sock")]
    [InlineData("tcp://127.0.0.1:8081", "spiffe 127.0.0.1:8081")]
    [InlineData("tcp://[::1]:8081", "spiffe [::1]:8081")]
    [InlineData("unix://host/agent.sock", null)]
    [InlineData("unix:agent.sock", null)]
    [InlineData("unix:///", null)]
    [InlineData("unix:///run/a?b", null)]
    [InlineData("tcp://localhost:8081", null)]
    [InlineData("tcp://127.0.0.1", null)]
    [InlineData("/run/spire/agent.sock", null)]
    public async Task Endpoint_is_written_as_the_standard_says(string endpoint, string? name)
    {
        if (name is null)
        {
            Assert.Contains($"'{endpoint}'", Assert.Throws<InvalidDataException>(Open).Message);
        }
        else
        {
            await using var source = Open();
            Assert.Equal(name, source.Name);
        }

        IIdentitySource Open() => IdentitySources.Open($"spiffe:{endpoint}", "", keep: true, (_, _) => throw new IOException(), null, TimeProvider.System);
    }

    private sealed class WorkloadSubject(bool overTcp = false) : Subject
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("fabric-spiffe-").FullName;
        private readonly Lock _lock = new();
        private IIdentitySource? _source;
        private Host? _host;
        private X509SVIDResponse _message = new();
        private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _dialled;
        private int _answered;
        private int _calls;

        public override IIdentitySource Source => _source ??= IdentitySources.Open(
            overTcp ? $"spiffe:tcp://127.0.0.1:{_host!.Port}" : $"spiffe:unix://{Socket}", "", keep: true, DialAsync, null, Mesh.Time);

        public override bool Busy => Volatile.Read(ref _dialled) != Volatile.Read(ref _answered);

        public string Socket => Path.Combine(_folder, "agent.sock");

        public string? Headers { get; private set; }

        public int Calls => Volatile.Read(ref _calls);

        public bool Denied { get; set; }

        public bool Silent { get; set; }

        /// <summary>Gateways that stand before this one.</summary>
        public GatewayId[] More { get; set; } = [];

        public Action<X509SVID> Change { get; set; } = _ => { };

        public static async Task<WorkloadSubject> StartedAsync(bool overTcp = false)
        {
            var subject = new WorkloadSubject(overTcp);
            await subject.StartAsync();
            return subject;
        }

        public override async Task StartAsync()
        {
            Tell();
            await ReturnAsync();
        }

        public override Task AnnounceAsync(GatewayIdentity self)
        {
            // Certificates count in seconds.
            Mesh.Time.Advance(TimeSpan.FromSeconds(1));
            Tell();
            return Task.CompletedTask;
        }

        public override async Task LeaveAsync() => await _host!.DisposeAsync();

        public override async Task ReturnAsync()
        {
            var server = new GrpcServer(TimeProvider.System).ServerStreaming(WorkloadMethods.FetchX509Svid, (_, call) => ServeAsync(call));
            File.Delete(Socket);
            _host = await Host.StartAsync(server.InvokeAsync, kestrel =>
            {
                if (overTcp)
                {
                    kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
                }
                else
                {
                    kestrel.ListenUnixSocket(Socket, listen => listen.Protocols = HttpProtocols.Http2);
                }
            });
        }

        /// <summary>The whole state, to all who listen.</summary>
        public void Tell()
        {
            var message = new X509SVIDResponse
            {
                // What others of this host are, and what is for others: of no concern here.
                Svids = { new X509SVID { SpiffeId = $"spiffe://{Mesh.Domain}/workload/web", X509Svid = ByteString.CopyFromUtf8("web") } },
                Crl = { ByteString.CopyFromUtf8("crl") },
                FederatedBundles = { ["spiffe://other.example"] = ByteString.CopyFromUtf8("other") },
            };
            var own = Make(null);
            message.Svids.Add(More.Select(g => g == Id ? own : Make(g)));
            message.Svids.Add(own);
            TaskCompletionSource told;
            lock (_lock)
            {
                (told, _changed) = (_changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
                _message = message;
            }

            told.SetResult();
        }

        public override async ValueTask DisposeAsync()
        {
            await _host!.DisposeAsync();
            Directory.Delete(_folder, recursive: true);
            await base.DisposeAsync();
        }

        private X509SVID Make(GatewayId? other)
        {
            var (grant, key) = IssueWithKey();
            using (key)
            {
                grant = other is { } id ? Mesh.Ca.Issue(id, MeshCa.Request(key)) : grant;
                var svid = new X509SVID
                {
                    SpiffeId = (other ?? Id).ToString(),
                    X509Svid = ByteString.CopyFrom([.. grant.Chain.SelectMany(c => c)]),
                    X509SvidKey = ByteString.CopyFrom(key.ExportPkcs8PrivateKey()),
                    Bundle = ByteString.CopyFrom([.. grant.Bundle.SelectMany(c => c)]),
                };
                Change(svid);
                return svid;
            }
        }

        private async Task<Stream> DialAsync(string address, CancellationToken ct)
        {
            Assert.Equal(overTcp ? $"127.0.0.1:{_host!.Port}" : $"unix:{Socket}", address);
            Interlocked.Increment(ref _dialled);
            try
            {
                return overTcp ? await Dial.TcpAsync(_host!.Port, ct) : await Dial.UnixAsync(Socket, ct);
            }
            catch
            {
                Interlocked.Decrement(ref _dialled);
                throw;
            }
        }

        private async IAsyncEnumerable<X509SVIDResponse> ServeAsync(GrpcCall call)
        {
            Interlocked.Increment(ref _calls);
            Headers = call.Metadata.Get("workload.spiffe.io");
            if (Silent)
            {
                await Task.Delay(Timeout.Infinite, call.Cancellation);
            }

            if (Headers != "true" || Denied)
            {
                Interlocked.Increment(ref _answered);
                throw Denied ? new GrpcException(GrpcStatus.PermissionDenied, "no identity issued")
                    : new GrpcException(GrpcStatus.InvalidArgument, "security header missing from request");
            }

            for (var first = true; ; first = false)
            {
                X509SVIDResponse now;
                Task changed;
                lock (_lock)
                {
                    (now, changed) = (_message, _changed.Task);
                }

                yield return now;
                Interlocked.Add(ref _answered, first ? 1 : 0);
                await changed.WaitAsync(call.Cancellation);
            }
        }
    }
}
