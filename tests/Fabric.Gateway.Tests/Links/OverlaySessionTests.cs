using System.Collections.Concurrent;
using Fabric.Gateway.Hosting;
using Fabric.Gateway.Links;
using Fabric.Gateway.Tests.Control;
using Fabric.Overlay;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Links;

/// <summary>What WireGuard agreed on with a peer is let go of when the peer has started anew, and never else.</summary>
public sealed class OverlaySessionTests : IAsyncLifetime
{
    private const string Topology = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, gateways: [ { name: paris-1 } ] }
          - { name: virginia, gateways: [ { name: virginia-1 } ] }
        links:
          - name: vpn
            type: vpn
            ends:
              - { gateway: paris-1 }
              - { gateway: virginia-1, address: 192.0.2.2 }

        """;

    private readonly TemporaryFolder _folder = new();
    private readonly ManualTime _time = new();
    private readonly Recorder _recorder = new();
    private readonly ConcurrentQueue<string> _renewed = new();
    private readonly StateFolder _state;
    private readonly OverlayLinks _links;
    private volatile bool _isUp;
    private volatile byte _start = 1;
    private int _dials;

    public OverlaySessionTests()
    {
        _state = new StateFolder(_folder["state"]);
        _links = new OverlayLinks("paris-1", _state, _recorder, new OverlayOptions(), _time, NullLogger.Instance)
        {
            Dial = DialAsync,
            IsUp = (_, _) => _isUp,
            Renewed = (peer, link) => _renewed.Enqueue($"{peer} over {link}"),
        };
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _links.DisposeAsync();
        await _state.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public async Task A_peer_that_started_anew_is_a_stranger_and_one_that_was_only_unreached_is_not()
    {
        _links.Reconcile(Samples.Accept(Topology));
        _links.Start();
        await Wait.UntilAsync(() => _recorder.Peers.LastOrDefault() == 1, () => "the peer was not put on the interface");
        _isUp = true;

        // Away for a while, and the same as before.
        await IntroducedAnewAsync();
        var before = _recorder.Peers.Count;
        Assert.Empty(_renewed);

        _start = 2;
        await IntroducedAnewAsync();
        await Wait.UntilAsync(() => !_renewed.IsEmpty, () => "nobody was told");
        Assert.Equal(["virginia-1 over vpn"], _renewed);
        Assert.Contains("0, 1", string.Join(", ", _recorder.Peers.Skip(before)), StringComparison.Ordinal);

        // Once.
        await IntroducedAnewAsync();
        Assert.Single(_renewed);
    }

    [Fact]
    public async Task Of_a_gateway_that_does_not_say_which_start_it_is_nothing_is_let_go()
    {
        _start = 0;
        _links.Reconcile(Samples.Accept(Topology));
        _links.Start();
        await IntroducedAnewAsync();
        await IntroducedAnewAsync();
        Assert.Empty(_renewed);
    }

    /// <summary>The link fails, both are introduced again, and a round later it works.</summary>
    private async Task IntroducedAnewAsync()
    {
        var before = Volatile.Read(ref _dials);
        _isUp = false;
        await Wait.UntilAsync(
            () =>
            {
                _time.Advance(TimeSpan.FromSeconds(5));
                return Volatile.Read(ref _dials) > before + 1;
            },
            () => "nobody was dialled");
        _isUp = true;
    }

    private async Task<Stream> DialAsync(System.Net.IPEndPoint remote, string peer, CancellationToken cancellationToken)
    {
        await Task.Yield();
        var (near, far) = DuplexStream.Pair();
        var start = _start;
        _ = IntroductionExchange.AnswerAsync(far, _ =>
        {
            Interlocked.Increment(ref _dials);
            return new Introduction
            {
                Link = "vpn",
                WireguardKey = ByteString.CopyFrom([.. Enumerable.Repeat((byte)7, 32)]),
                Instance = start == 0 ? ByteString.Empty : ByteString.CopyFrom([.. Enumerable.Repeat(start, 16)]),
            };
        }, cancellationToken);
        return near;
    }

    /// <summary>How many peers it was to have, each time.</summary>
    private sealed class Recorder : IWireGuardDriver, IWireGuardDevice
    {
        public ConcurrentQueue<int> Peers { get; } = new();

        public string Name => "recorder";

        public string Interface => "recorded";

        public bool IsAvailable(out string reason)
        {
            reason = "always";
            return true;
        }

        public Task<IWireGuardDevice> OpenAsync(string interfaceName, CancellationToken cancellationToken) => Task.FromResult<IWireGuardDevice>(this);

        public Task ApplyAsync(DeviceConfig config, CancellationToken cancellationToken)
        {
            Peers.Enqueue(config.Peers.Length);
            return Task.CompletedTask;
        }

        public Task<DeviceStatus> GetStatusAsync(CancellationToken cancellationToken) => throw new InvalidOperationException("nobody asks");

        public Task DetachAsync() => Task.CompletedTask;

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
