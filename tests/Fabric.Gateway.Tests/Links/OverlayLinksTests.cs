using Fabric.Gateway.Hosting;
using Fabric.Gateway.Links;
using Fabric.Overlay;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Links;

/// <summary>What a gateway takes from another's introduction: a key of its own, for a link that the topology gives the two.</summary>
public sealed class OverlayLinksTests : IAsyncLifetime
{
    private const string Pinned = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

    private static readonly string Topology = $$"""
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, gateways: [ { name: paris-1 } ] }
          - { name: virginia, gateways: [ { name: virginia-1 } ] }
          - { name: oslo, gateways: [ { name: oslo-1 } ] }
          - { name: rome, gateways: [ { name: rome-1, wireguardKey: "{{Pinned}}" } ] }
        links:
          - name: vpn
            type: vpn
            ends:
              - { gateway: paris-1, address: 192.0.2.1 }
              - { gateway: virginia-1, address: 192.0.2.2 }
              - { gateway: oslo-1, address: 192.0.2.3 }
              - { gateway: rome-1, address: 192.0.2.4 }

        """;

    private readonly TemporaryFolder _folder = new();
    private readonly List<(string Peer, string Reason)> _refused = [];
    private readonly StateFolder _state;
    private readonly OverlayLinks _links;

    public OverlayLinksTests()
    {
        _state = new StateFolder(_folder["state"]);
        var options = new OverlayOptions();
        // Never started: no interface is made.
        _links = new OverlayLinks("paris-1", _state, new NoDriver(), options, new ManualTime(), NullLogger.Instance)
        {
            Dial = (_, _, _) => throw new InvalidOperationException("nobody is dialled"),
            IsUp = (_, _) => false,
            KeyRefused = (peer, reason) => _refused.Add((peer, reason)),
        };
        _links.Reconcile(Samples.Accept(Topology));
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _links.DisposeAsync();
        await _state.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public void A_key_is_taken_from_its_owner_again_and_when_it_changes()
    {
        var mine = Introduce("virginia-1", Key(1));
        Assert.Equal(("", 32), (mine.Refusal, mine.WireguardKey.Length));
        Assert.Equal("", Introduce("virginia-1", Key(1)).Refusal);
        Assert.Equal("", Introduce("virginia-1", Key(2)).Refusal);

        // The first is nobody's now.
        Assert.Equal("", Introduce("oslo-1", Key(1)).Refusal);
        Assert.Empty(_refused);
    }

    [Fact]
    public void The_key_of_another_gateway_is_refused()
    {
        var paris = Introduce("virginia-1", Key(1)).WireguardKey;
        foreach (var (key, owner) in new[] { (Key(1), "virginia-1"), (ByteString.FromBase64(Pinned), "rome-1"), (paris, "paris-1") })
        {
            var reason = $"the WireGuard key that oslo-1 introduced itself with is that of {owner}";
            Assert.Equal(reason, Introduce("oslo-1", key).Refusal);
            Assert.Equal(("oslo-1", reason), _refused[^1]);
        }

        Assert.Equal("", Introduce("oslo-1", Key(3)).Refusal);
        Assert.Equal("", Introduce("rome-1", ByteString.FromBase64(Pinned)).Refusal);
    }

    [Fact]
    public void A_link_that_the_two_do_not_have_is_refused()
    {
        Assert.Equal("paris-1 has no vpn link vpn with mars-1", Introduce("mars-1", Key(1)).Refusal);
        Assert.Equal("paris-1 has no vpn link dx with oslo-1", _links.Answer("oslo-1", new Introduction { Link = "dx", WireguardKey = Key(1) }).Refusal);
        Assert.Equal("a WireGuard key has 32 bytes", Introduce("oslo-1", ByteString.CopyFrom(1, 2)).Refusal);
    }

    private Introduction Introduce(string peer, ByteString key) => _links.Answer(peer, new Introduction { Link = "vpn", WireguardKey = key });

    private sealed class NoDriver : IWireGuardDriver
    {
        public string Name => "none";

        public bool IsAvailable(out string reason) => throw new InvalidOperationException("nobody asks");

        public Task<IWireGuardDevice> OpenAsync(string interfaceName, CancellationToken cancellationToken) =>
            throw new InvalidOperationException("no interface is made");
    }

    private static ByteString Key(byte of) => ByteString.CopyFrom([.. Enumerable.Repeat(of, 32)]);
}
