using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Ingress;
using Fabric.Testing;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests.Ingress;

public sealed class LocalCallersTests : IAsyncLifetime
{
    private const string Id = "spiffe://acme.example/site/paris/workload/shop";
    private static readonly IPEndPoint _service = new(IPAddress.Parse("127.65.0.9"), 80);

    private readonly LocalCallers _callers = new(TimeProvider.System);

    public Task InitializeAsync() => Task.CompletedTask;

    public Task DisposeAsync() => _callers.DisposeAsync().AsTask();

    private static ImmutableArray<(Workload, string)> Of(string user) => [(new Workload("shop", "paris", []) { UnixUser = user }, Id)];

    [RequiresFact("setpriv")]
    public async Task A_connection_that_nobody_owns_has_no_identity_and_says_so()
    {
        var client = new IPEndPoint(IPAddress.Loopback, 1);
        Assert.Equal(new LocalCaller(null, "no process owns 127.0.0.1:1 any more"), await _callers.FindAsync(Of("0"), client, _service, default));

        // Of another machine: its address says who it is.
        Assert.Equal(default, await _callers.FindAsync(Of("0"), new IPEndPoint(IPAddress.Parse("192.0.2.1"), 1), _service, default));
    }

    [RequiresFact("setpriv")]
    public async Task A_connection_is_of_the_user_who_made_it()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var client = new TcpClient(AddressFamily.InterNetwork);
        await client.ConnectAsync((IPEndPoint)listener.LocalEndpoint);
        var (from, to) = ((IPEndPoint)client.Client.LocalEndPoint!, (IPEndPoint)listener.LocalEndpoint);

        Assert.Equal(new LocalCaller(Id, null), await _callers.FindAsync(Of(Environment.UserName), from, to, default));
        Assert.Equal(default, await _callers.FindAsync(Of("no-such-user"), from, to, default));
        Assert.Equal(default, await _callers.FindAsync([(new Workload("shop", "paris", []) { Cgroup = "/no/such" }, Id)], from, to, default));
    }

    [RequiresFact("setpriv")]
    public async Task Who_cannot_be_found_out_is_refused_and_the_reason_is_told()
    {
        var told = new List<string>();
        var snapshot = Samples.Snapshot(Samples.TwoSites.Replace("addresses: [ 127.0.0.1/32 ]", "unixUser: root", StringComparison.Ordinal), "paris-1");
        var router = new IngressRouter(() => snapshot, new Random(1))
        {
            Locals = _callers,
            Unidentified = (client, listener, reason) => told.Add($"{client} {listener.Service} {reason}"),
        };

        var plan = await router.PlanAsync(new ServiceListener("web.shop", 80, _service), new IPEndPoint(IPAddress.Loopback, 1), default);

        Assert.Equal(([], "no process owns 127.0.0.1:1 any more"), (plan.Routes, plan.Refusal));
        Assert.Equal(["127.0.0.1:1 web.shop no process owns 127.0.0.1:1 any more"], told);
    }
}
