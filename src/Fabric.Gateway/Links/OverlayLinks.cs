using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Security.Cryptography;
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
/// learned for the next start. A link that does not work is introduced again, in case the peer has a new key, or has started anew.
/// </summary>
/// <remarks>
/// A peer that has started anew knows nothing of the session that WireGuard has with it here, and drops what comes in it. Where it cannot dial, because this
/// end is behind a NAT, nobody would tell: WireGuard looks for a new session only when nothing has come for 15 s. So what introduces itself says which start
/// it is, and the end that dials lets go of the session with another.
/// </remarks>
internal sealed class OverlayLinks : IAsyncDisposable
{
    private const string KeysFile = "wireguard-peers.json";
    private const int InstanceLength = 16;
    private static readonly TimeSpan _round = TimeSpan.FromSeconds(1);

    /// <summary>As lanes are dialled: the peer may come back at any time.</summary>
    private static readonly TimeSpan _maxBackoff = TimeSpan.FromSeconds(5);
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
    private readonly ByteString _instance = ByteString.CopyFrom(RandomNumberGenerator.GetBytes(InstanceLength));
    private readonly Dictionary<string, ByteString> _instances = new(StringComparer.Ordinal); // under _peerKeys
    private readonly HashSet<string> _startedAnew = new(StringComparer.Ordinal); // under _peerKeys
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

    /// <summary>A link that was of no use has a peer that started anew, and is as good as new: peer and link.</summary>
    public Action<string, string> Renewed { get; init; } = (_, _) => { };

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
        await Task.WhenAll(_attempts.Values.Select(a => a.Running));
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
                    await ForgetSessionsAsync(plan);
                    _faults = await _network.ReconcileAsync(plan, _stop.Token);
                    Introduce(topology);
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

    /// <summary>A peer that is taken off its interface, and put back, is a stranger: the next packet to it begins a session.</summary>
    private async Task ForgetSessionsAsync(OverlayPlan plan)
    {
        HashSet<string> peers;
        lock (_peerKeys)
        {
            peers = [.. _startedAnew];
            _startedAnew.Clear();
        }

        if (peers.Count == 0)
        {
            return;
        }

        await _network.ReconcileAsync(plan.Without(peers), _stop.Token);
        await _network.ReconcileAsync(plan, _stop.Token);
        foreach (var (link, peer) in plan.Interfaces.SelectMany(i => i.Peers.Where(p => peers.Contains(p.Gateway)).Select(p => (i.Link, p.Gateway))))
        {
            Renewed(peer, link);
        }
    }

    private void Introduce(FabricTopology topology)
    {
        foreach (var link in topology.Links.Where(l => l.Kind == LinkKind.Vpn && l.Touches(_gateway) && IsMine(l)))
        {
            var key = (link.PeerOf(_gateway).Gateway, link.Name);
            var before = _attempts.GetValueOrDefault(key);
            if (before is { Running.IsCompleted: false })
            {
                continue;
            }

            if (IsUp(key.Gateway, key.Name) && IsKnown(key.Gateway))
            {
                _attempts.TryRemove(key, out _);
            }
            else if (before is null || _time.GetElapsedTime(before.At) >= before.Backoff)
            {
                var backoff = before is null ? _round : before.Backoff * 2;
                _attempts[key] = new Attempt(_time.GetTimestamp(), backoff < _maxBackoff ? backoff : _maxBackoff, IntroduceAsync(topology, link));
            }
        }
    }

    private bool IsKnown(string peer)
    {
        lock (_peerKeys)
        {
            return _instances.ContainsKey(peer);
        }
    }

    /// <summary>One end introduces: the one that cannot be dialled, else the one whose name sorts first.</summary>
    private bool IsMine(Link link)
    {
        var (here, there) = (link.EndOf(_gateway), link.PeerOf(_gateway));
        return there.Address is not null && (here.Address is null || string.CompareOrdinal(_gateway, there.Gateway) < 0);
    }

    private async Task IntroduceAsync(FabricTopology topology, Link link)
    {
        var there = link.PeerOf(_gateway);
        try
        {
            var port = topology.FindGateway(there.Gateway)!.Port;
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
            limit.CancelAfter(_dialLimit);
            await using var stream = await Dial(new IPEndPoint(there.Address!, port), there.Gateway, limit.Token);
            var theirs = await IntroductionExchange.ProposeAsync(stream, Mine(link), limit.Token);
            if (Learn(there.Gateway, link.Name, theirs) is { } refusal)
            {
                throw new InvalidDataException(refusal);
            }

            Met(there.Gateway, theirs.Instance);
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
        Instance = _instance,
    };

    /// <summary>Which start of the peer it is. The first that is met had no other before it here: WireGuard has begun with it, or is about to.</summary>
    private void Met(string peer, ByteString instance)
    {
        lock (_peerKeys)
        {
            var before = _instances.GetValueOrDefault(peer);
            // Of a gateway that does not say there is nothing to be known.
            _instances[peer] = instance.Length == InstanceLength ? instance : ByteString.Empty;
            if (before is not { Length: InstanceLength } || before.Equals(_instances[peer]))
            {
                return;
            }

            _startedAnew.Add(peer);
        }

        Wake();
    }

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

    private sealed record Attempt(long At, TimeSpan Backoff, Task Running);
}
