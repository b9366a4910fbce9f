using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Hosting;
using Fabric.Gateway.Telemetry;
using Fabric.Overlay;
using Fabric.Overlay.Keys;
using Fabric.Protocol.Proto;
using Fabric.Topology.Model;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Links;

/// <summary>
/// The vpn links of this gateway. WireGuard needs the other end's public key before the first packet, and a key is nobody's to
/// declare but its owner's: gateways introduce themselves over mutual TLS at the address under the link, and keep what they
/// learned for the next start. A link without traffic is introduced again, in case the peer has a new key.
/// </summary>
internal sealed class OverlayLinks : IAsyncDisposable
{
    private const string KeysFile = "wireguard-peers.json";
    private static readonly TimeSpan _round = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _maxBackoff = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan _dialLimit = TimeSpan.FromSeconds(3);

    private readonly string _gateway;
    private readonly StateFolder _state;
    private readonly OverlayOptions _options;
    private readonly OverlayNetwork _network;
    private readonly WireGuardKey _key;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly ConcurrentDictionary<string, WireGuardPublicKey> _peerKeys = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string Peer, string Link), Attempt> _attempts = new();
    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly CancellationTokenSource _stop = new();
    private FabricTopology? _topology;
    private ImmutableArray<OverlayFault> _faults = [];
    private Task _running = Task.CompletedTask;

    public OverlayLinks(string gateway, StateFolder state, IWireGuardDriver driver, OverlayOptions options, TimeProvider time, ILogger log)
    {
        (_gateway, _state, _options, _time, _log) = (gateway, state, options, time, log);
        _network = new OverlayNetwork(driver, options);
        _key = WireGuardKeyFile.LoadOrCreate(state.Path);
        foreach (var (peer, key) in state.ReadJson<Dictionary<string, string>>(KeysFile, []))
        {
            // A damaged entry is no reason not to start: the peer is introduced again.
            if (Convert.TryFromBase64String(key, new byte[IntroductionExchange.KeyLength], out var length)
                && length == IntroductionExchange.KeyLength)
            {
                _peerKeys[peer] = WireGuardPublicKey.FromBase64(key);
            }
        }
    }

    /// <summary>Opens a mutual-TLS stream to a gateway at the address under a link; set before <see cref="Start"/>.</summary>
    public required Func<IPEndPoint, string, CancellationToken, Task<Stream>> Dial { get; init; }

    /// <summary>Whether a link works now: then its key is right, and nobody needs an introduction.</summary>
    public required Func<string, string, bool> IsUp { get; init; }

    /// <summary>A gateway introduced itself with a key that is another's: its name, and what was wrong.</summary>
    public Action<string, string> KeyRefused { get; init; } = (_, _) => { };

    public string Driver => _network.Driver.Name;

    /// <summary>What is wrong with the interfaces now.</summary>
    public ImmutableArray<OverlayFault> Faults => _faults;

    public void Start() => _running = Task.Run(RunAsync);

    /// <summary>The interfaces follow the topology; returns at once.</summary>
    public void Reconcile(FabricTopology topology)
    {
        Volatile.Write(ref _topology, topology);
        Wake();
    }

    /// <summary>The accepting side of an introduction from an authenticated gateway.</summary>
    public Introduction Answer(string peer, Introduction theirs)
    {
        var link = Volatile.Read(ref _topology)?.Links.FirstOrDefault(l =>
            l.Kind == LinkKind.Vpn && l.Name == theirs.Link && l.Touches(_gateway) && l.Touches(peer));
        if (link is null)
        {
            return new Introduction { Link = theirs.Link, Refusal = $"{_gateway} has no vpn link {theirs.Link} with {peer}" };
        }

        if (theirs.WireguardKey.Length != IntroductionExchange.KeyLength)
        {
            return new Introduction { Link = theirs.Link, Refusal = $"a WireGuard key has {IntroductionExchange.KeyLength} bytes" };
        }

        return Learn(peer, link.Name, theirs) is { } refusal ? new Introduction { Link = theirs.Link, Refusal = refusal } : Mine(link);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        await _network.DisposeAsync();
        _key.Dispose();
        _stop.Dispose();
        _wake.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                if (Volatile.Read(ref _topology) is { } topology)
                {
                    var plan = OverlayPlan.For(topology, _gateway, _key, _peerKeys, _options);
                    _faults = await _network.ReconcileAsync(plan, _stop.Token);
                    await IntroduceAsync(topology);
                }

                await _wake.WaitAsync(_round, _stop.Token);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (OverlayException e)
            {
                _faults = [new OverlayFault("(all)", e.Stage, e.Message)];
                Log.Failed(_log, "The overlay", e.Message);
                await Task.Delay(_round, _time, CancellationToken.None);
            }
        }
    }

    private async Task IntroduceAsync(FabricTopology topology)
    {
        var due = topology.Links.Where(l => l.Kind == LinkKind.Vpn && l.Touches(_gateway) && IsMine(l) && IsDue(l)).ToList();
        await Task.WhenAll(due.Select(link => IntroduceAsync(topology, link)));
    }

    /// <summary>One end introduces: the one that cannot be dialled, else the one whose name sorts first.</summary>
    private bool IsMine(Link link)
    {
        var (here, there) = (link.EndOf(_gateway), link.PeerOf(_gateway));
        return there.Address is not null && (here.Address is null || string.CompareOrdinal(_gateway, there.Gateway) < 0);
    }

    private bool IsDue(Link link)
    {
        var peer = link.PeerOf(_gateway).Gateway;
        return !IsUp(peer, link.Name)
            && (!_attempts.TryGetValue((peer, link.Name), out var attempt) || _time.GetElapsedTime(attempt.At) >= attempt.Backoff);
    }

    private async Task IntroduceAsync(FabricTopology topology, Link link)
    {
        var there = link.PeerOf(_gateway);
        var backoff = _attempts.TryGetValue((there.Gateway, link.Name), out var before) ? before.Backoff * 2 : _round;
        _attempts[(there.Gateway, link.Name)] = new Attempt(_time.GetTimestamp(), backoff < _maxBackoff ? backoff : _maxBackoff);
        try
        {
            var port = topology.FindGateway(there.Gateway)!.Port;
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
            limit.CancelAfter(_dialLimit);
            await using var stream = await Dial(new IPEndPoint(there.Address!, port), there.Gateway, limit.Token);
            if (Learn(there.Gateway, link.Name, await IntroductionExchange.ProposeAsync(stream, Mine(link), limit.Token)) is { } refusal)
            {
                throw new InvalidDataException(refusal);
            }
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or OperationCanceledException
            or System.Security.Authentication.AuthenticationException or InvalidDataException)
        {
            Log.NotIntroduced(_log, there.Gateway, link.Name, e.Message);
        }
    }

    private Introduction Mine(Link link) => new()
    {
        Link = link.Name,
        WireguardKey = ByteString.CopyFrom(_key.PublicKey.Bytes),
        WireguardPort = (uint)link.EndOf(_gateway).WireGuardPort,
    };

    /// <summary>
    /// Null, or why the key is not taken. A key is one gateway's: with another's, a peer could take that one's place on the interface, and its address
    /// and endpoint with it.
    /// </summary>
    private string? Learn(string peer, string link, Introduction theirs)
    {
        var key = WireGuardPublicKey.FromBytes(theirs.WireguardKey.Span);
        lock (_peerKeys)
        {
            if (_peerKeys.TryGetValue(peer, out var known) && known.Equals(key))
            {
                return null;
            }

            if (OwnerOf(key, peer) is { } owner)
            {
                var refusal = $"the WireGuard key that {peer} introduced itself with is that of {owner}";
                KeyRefused(peer, refusal);
                return refusal;
            }

            _peerKeys[peer] = key;
            _state.WriteJson(KeysFile, _peerKeys.ToDictionary(p => p.Key, p => p.Value.ToBase64()));
        }

        Log.Introduced(_log, peer, link);
        Wake();
        return null;
    }

    /// <summary>Who else has that key: this gateway, one to which it is pinned, or one that introduced itself with it and that the topology still has.</summary>
    private string? OwnerOf(WireGuardPublicKey key, string peer)
    {
        var gateways = Volatile.Read(ref _topology)?.Sites.SelectMany(s => s.Gateways).Where(g => g.Name != peer).ToList() ?? [];
        return _key.PublicKey.Equals(key) ? _gateway
            : gateways.FirstOrDefault(g => g.WireGuardKey is { } pinned ? pinned.AsSpan().SequenceEqual(key.Bytes)
                : _peerKeys.TryGetValue(g.Name, out var known) && known.Equals(key))?.Name;
    }

    private void Wake()
    {
        try
        {
            _wake.Release();
        }
        catch (SemaphoreFullException)
        {
            // Already awake.
        }
    }

    private readonly record struct Attempt(long At, TimeSpan Backoff);
}
