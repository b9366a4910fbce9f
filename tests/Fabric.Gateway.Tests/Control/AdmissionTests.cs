using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Fabric.Gateway.Control;
using Fabric.Gateway.Control.Transport;
using Fabric.Gateway.Tests.Hosting;
using Fabric.Gateway.Tests.Telemetry;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Control;

/// <summary>Real calls and connections, until one is too many.</summary>
[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class AdmissionTests
{
    [Fact]
    public async Task Admin_calls_of_one_user_are_limited_and_told_so()
    {
        using var folder = new TemporaryFolder();
        var admission = new Admission(TimeProvider.System);
        var users = new HashSet<uint>();
        await using var host = new ControlHost(
            new ControlEndpoints(folder["run", "s"], new StreamEndPoint("control"), new IPEndPoint(IPAddress.Loopback, FreePorts.Take(1)[0]), null),
            new ControlServices
            {
                Status = () => new Status { Gateway = "paris-1" },
                Catalog = (_, _) => AsyncEnumerable.Empty<CatalogUpdate>(),
                Reload = () => ("abc", true),
                SetFault = null,
                Drain = (_, _, _) => Task.FromResult(new DrainReply()),
                Health = new HealthChecks(() => [], () => [], () => []),
                AdmitAdmin = user =>
                {
                    lock (users)
                    {
                        users.Add(user);
                    }

                    return admission.AdminCall(user);
                },
            }, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance);
        await host.StartAsync(default);
        using var admin = new AdminClient(folder["run", "s"]);

        // A script that watches and reloads is far from it; one that spins is refused sooner or later, and may come again.
        var calls = 0;
        GrpcException? refused = null;
        while (refused is null && calls < 200_000)
        {
            await Task.WhenAll(Enumerable.Range(0, 50).Select(async _ =>
            {
                try
                {
                    await admin.ReloadAsync();
                    Interlocked.Increment(ref calls);
                }
                catch (GrpcException e)
                {
                    refused = e;
                }
            }));
        }

        Assert.InRange(calls, Admission.AdminCalls.AtOnce, 199_999);
        Assert.Equal(GrpcStatus.ResourceExhausted, refused!.Status);
        Assert.Equal($"too many calls of user {Assert.Single(users)} to the admin API: 1000 at once and then 200 a second are taken; try again in a moment", refused.Detail);
        Assert.NotEqual(UnixPeer.Unknown, users.Single());
        Assert.Contains(admission.Refused, r => r is { Kind: "admin_rate", Count: > 0 });
        await Task.Delay(TimeSpan.FromMilliseconds(100));
        Assert.Equal("abc", (await admin.ReloadAsync()).Revision);
    }

    [Fact]
    public async Task Renewals_of_a_site_pass_and_a_flood_of_them_is_refused()
    {
        await using var fabric = LoopbackFabric.Joined();
        await using var gateway = await Fabric.Gateway.Hosting.GatewayProcess.StartAsync(
            fabric.Options(LoopbackFabric.Paris) with { Ca = fabric.CaFolder }, TimeProvider.System, new CapturedLog(), default);
        var ca = MeshCa.Open(fabric.CaFolder, TimeProvider.System);
        var store = new GatewayKeyStore(fabric.State("joined"));
        var token = ca.CreateToken("factory", LoopbackFabric.Factory, addresses: [fabric.PortOf(LoopbackFabric.Paris).ToString()]);
        await JoinClient.JoinAsync(token, DialAsync, store, TimeProvider.System, default).WaitAsync(Wait.Limit);
        var self = GatewayIdentity.Load(store, TimeProvider.System);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = MeshCa.Request(key);

        for (var renewal = 1; renewal < Admission.Joins.AtOnce; renewal++)
        {
            await JoinClient.RenewAsync(self, request, DialAsync, TimeProvider.System, default).WaitAsync(Wait.Limit);
        }

        JoinException? refused = null;
        for (var more = 0; refused is null; more++)
        {
            Assert.InRange(more, 0, 1_000);
            refused = (JoinException?)await Record.ExceptionAsync(
                () => JoinClient.RenewAsync(self, request, DialAsync, TimeProvider.System, default).WaitAsync(Wait.Limit));
        }

        Assert.Equal(JoinFailure.Busy, refused.Failure);
        Assert.Contains("too many attempts to join or renew from 127.0.0.1: 60 at once and then 2 a second are taken", refused.Message, StringComparison.Ordinal);
        using var admin = new AdminClient(fabric.Options(LoopbackFabric.Paris).Socket);
        var status = await admin.StatusAsync();
        Assert.Contains(status.Capacity.Refusals, r => r is { Kind: "join_rate", Count: > 0 });
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        var metrics = PrometheusText.Parse(await http.GetStringAsync($"http://{fabric.MetricsOf(LoopbackFabric.Paris)}/metrics"));
        Assert.True(metrics["fabric_turned_away_total{kind=join_rate}"] > 0);
    }

    private static async Task<Stream> DialAsync(string address, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(IPEndPoint.Parse(address), cancellationToken);
        return new NetworkStream(socket, ownsSocket: true);
    }
}
