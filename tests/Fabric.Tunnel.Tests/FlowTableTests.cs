using Fabric.Testing;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Tests;

/// <summary>Which flows end, and when, on a clock that is moved by hand.</summary>
public sealed class FlowTableTests : IAsyncLifetime
{
    private readonly TestAuthority _authority = new();
    private readonly ManualTime _time = new();
    private readonly TestGateway _gateway;
    private readonly GatewayTunnel _tunnel;

    public FlowTableTests()
    {
        _gateway = new TestGateway(_authority.Gateway("alpha"), TunnelDriver.Portable);
        _tunnel = new GatewayTunnel(new TunnelOptions
        {
            Identity = _authority.Gateway("alpha"),
            Ingress = _gateway,
            Egress = _gateway,
            Time = _time,
            Random = new Random(1),
            Limits = new TunnelLimits { MaxFlows = 3 },
        });
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _tunnel.DisposeAsync();
        await _gateway.DisposeAsync();
        _authority.Dispose();
    }

    private sealed class Noted(GatewayTunnel tunnel, TimeSpan idle) : Flow(tunnel, idle)
    {
        public string? Ended { get; private set; }

        public override void ToEndpoint(ReadOnlySpan<byte> datagram)
        {
        }

        public override void ToClient(ReadOnlySpan<byte> datagram)
        {
        }

        public override void End(string reason) => Ended = reason;
    }

    private Noted New(FlowTable table, int idleSeconds = 60)
    {
        var flow = new Noted(_tunnel, TimeSpan.FromSeconds(idleSeconds));
        return table.TryAdd(flow) ? flow : throw new InvalidOperationException("the table is full");
    }

    [Fact]
    public void Each_flow_ends_after_its_own_time_without_a_datagram()
    {
        using var table = new FlowTable(_tunnel);
        var (slow, quick, busy) = (New(table, 60), New(table, 2), New(table, 2));
        _time.Advance(TimeSpan.FromSeconds(1.5));
        table.Touch(busy);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal((null, "no datagram for 2 s", null), (slow.Ended, quick.Ended, busy.Ended));
        _time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal((null, "no datagram for 2 s", 1), (slow.Ended, busy.Ended, table.Count));
    }

    [Fact]
    public void At_the_limit_the_one_that_is_idle_the_longest_makes_room_if_it_is_idle()
    {
        using var table = new FlowTable(_tunnel);
        var (first, second, third) = (New(table), New(table), New(table));
        _time.Advance(TimeSpan.FromMilliseconds(900));
        Assert.Throws<InvalidOperationException>(() => New(table));
        table.Touch(first);
        _time.Advance(TimeSpan.FromMilliseconds(200));
        New(table);
        Assert.Equal((null, null), (first.Ended, third.Ended));
        Assert.Contains("needed its place", second.Ended);
        Assert.Equal(3, table.Count);
        table.Remove(third);
        table.Touch(third);
        Assert.Equal(2, table.Count);
    }
}
