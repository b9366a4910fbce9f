using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Tunnel;
using Fabric.Testing;
using Fabric.Tunnel.Drivers;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// A gateway that is driven by hand: a certificate that is good, real TLS, and frames as the test wants them. Its name sorts after
/// <c>beta</c>'s, so its streams have even ids.
/// </summary>
internal sealed class EvilPeer : IAsyncDisposable
{
    private readonly Stream _tls;
    private readonly FrameReader _reader = new();
    private readonly byte[] _input = new byte[128 * 1024];
    private readonly byte[] _output = new byte[FrameHeader.MaxFrame];
    private int _start;
    private int _end;

    /// <summary>Over a connection that TLS is done on.</summary>
    public EvilPeer(Stream tls)
    {
        _tls = tls;
    }

    /// <summary>TLS, and nothing after it.</summary>
    public static async Task<EvilPeer> DialAsync(TestIdentity identity, IPEndPoint port) =>
        new((await MutualTls.DialAsync(port, identity, MutualTls.LaneProtocol, null, default)).Stream);

    /// <summary>A lane that is up.</summary>
    public static async Task<EvilPeer> JoinAsync(TestIdentity identity, IPEndPoint port, string link = "one", uint epoch = 2, Guid? session = null)
    {
        var peer = await DialAsync(identity, port);
        await peer.JoinAsync(link, epoch, session);
        return peer;
    }

    /// <summary>HELLO and its answer.</summary>
    public async Task JoinAsync(string link = "one", uint epoch = 2, Guid? session = null)
    {
        await HelloAsync(link, epoch, session);
        if ((await NextAsync(FrameType.Hello, FrameType.Close)).Type == FrameType.Close)
        {
            throw new IOException(Reason!.Reason);
        }
    }

    /// <summary>What the other side's CLOSE or RESET said.</summary>
    public ReasonFrame? Reason { get; private set; }

    public Task HelloAsync(string link = "one", uint epoch = 2, Guid? session = null) =>
        SendAsync(FrameType.Hello, payload: new HelloFrame(
            session ?? Guid.NewGuid(), epoch, link, new byte[HelloFrame.ProbeKeySize].ToImmutableArray(), 16_384).ToPayload());

    public async Task SendAsync(FrameType type, uint stream = 0, long offset = 0, byte[]? payload = null)
    {
        await SendRawAsync(Frame(type, stream, offset, payload));
    }

    public static byte[] Frame(FrameType type, uint stream = 0, long offset = 0, byte[]? payload = null)
    {
        var bytes = new byte[FrameHeader.Size + (payload?.Length ?? 0)];
        new FrameHeader(type, payload?.Length ?? 0, stream, offset).Write(bytes);
        payload?.CopyTo(bytes, FrameHeader.Size);
        return bytes;
    }

    public async Task SendRawAsync(ReadOnlyMemory<byte> bytes)
    {
        await _tls.WriteAsync(bytes);
        await _tls.FlushAsync();
    }

    public Task OpenAsync(uint stream, long credit = 1 << 20, string service = "web.shop") =>
        SendAsync(FrameType.Open, stream, credit, new OpenFrame(service, 80, "spiffe://test.example/ns/a/sa/b", "").ToPayload());

    public async Task<FrameHeader> NextAsync(params FrameType[] types)
    {
        while (true)
        {
            while (_reader.TryRead(_input.AsSpan(_start, _end - _start), out var consumed, out var frame))
            {
                _start += consumed;
                if (types.Contains(frame.Header.Type))
                {
                    Reason = frame.Header.Type is FrameType.Close or FrameType.Reset ? ReasonFrame.Parse(frame.Payload) : Reason;
                    return frame.Header;
                }
            }

            _start = 0;
            _end = await _tls.ReadAsync(_input).AsTask().WaitAsync(Pair.Limit);
            if (_end == 0)
            {
                throw new IOException($"the connection ended before {string.Join(" or ", types)}");
            }
        }
    }

    /// <summary>Reads on until the other side closes the lane; why it did.</summary>
    public async Task<ReasonFrame> ClosedAsync()
    {
        await NextAsync(FrameType.Close);
        return Reason!;
    }

    /// <summary>Sends the same over and over until the other side closes the lane.</summary>
    public async Task<ReasonFrame> FloodAsync(Func<int, byte[]> frames)
    {
        var closed = ClosedAsync();
        for (var i = 0; !closed.IsCompleted; i++)
        {
            try
            {
                await SendRawAsync(frames(i)).WaitAsync(Pair.Limit);
            }
            catch (IOException) when (!closed.IsFaulted)
            {
                break;
            }
        }

        return await closed.WaitAsync(Pair.Limit);
    }

    public ValueTask DisposeAsync() => _tls.DisposeAsync();
}

/// <summary>
/// <see cref="Pair"/>, and places for peers that abuse <c>beta</c>: beta plans lanes over <c>one</c> and <c>two</c> with each of
/// <see cref="Names"/>. An honest stream runs between alpha and beta from the start to <see cref="HonestAsync"/>.
/// </summary>
internal sealed class Siege : IAsyncDisposable
{
    private const long HonestBytes = 30_000_000;

    private readonly TestAuthority _authority;
    private readonly List<EvilPeer> _peers = [];
    private (Task<string> Sent, Task<(string Hash, long Bytes)> Received) _honest;

    private Siege(TestAuthority authority, Pair pair)
    {
        _authority = authority;
        Pair = pair;
    }

    public static ImmutableArray<string> Names { get; } = [.. Enumerable.Range(0, 8).Select(i => $"evil-{i}")];

    public Pair Pair { get; }

    public TestGateway Victim => Pair.Beta;

    public IPEndPoint Port => Victim.Address("gateway port");

    public static async Task<Siege> LayAsync(TestAuthority authority, TunnelDriver driver, TunnelLimits? limits = null)
    {
        var pair = await Pair.StartAsync(authority, driver, limits);
        var siege = new Siege(authority, pair);
        var server = (IPEndPoint)pair.Server.LocalEndpoint;
        pair.Beta.Decide = (peer, open) => peer == "alpha"
            ? new EgressVerdict.Dial([server], Pair.Limit)
            : new EgressVerdict.Handle(stream => ((TunnelStream)stream).Ended);
        pair.Beta.Tunnel.Reconcile(new TunnelPlan
        {
            Listen = [Pair.AnyPort],
            Lanes = [.. from peer in Names.Prepend("alpha") from link in new[] { "one", "two" } select new LanePlan(peer, link, null)],
        });
        var (client, atServer) = await pair.ConnectAsync();
        siege._honest = (Task.Run(() => Traffic.SendAsync(client, HonestBytes, 1)), Traffic.ReceiveAsync(atServer));
        return siege;
    }

    public TestIdentity Identity(int peer = 0) => _authority.Gateway(Names[peer]);

    public async Task<EvilPeer> JoinAsync(int peer = 0, string link = "one", uint epoch = 2, Guid? session = null)
    {
        var evil = await EvilPeer.JoinAsync(Identity(peer), Port, link, epoch, session);
        _peers.Add(evil);
        return evil;
    }

    public long Refused(Refusal kind) => Victim.Tunnel.Usage.Refusals.Single(r => r.Kind == kind).Count;

    public string? LastError(int peer = 0, string link = "one") => Lane(peer, link).LastError;

    public bool IsUp(int peer = 0, string link = "one") => Lane(peer, link).State == LaneState.Up;

    private LaneStatus Lane(int peer, string link) =>
        Victim.SessionWith(Names[peer]).Lanes.Single(l => l.Link == link && l.Channel == 0);

    /// <summary>The honest stream arrives whole, and both its lanes are as they were.</summary>
    public async Task HonestAsync()
    {
        Assert.Equal((await _honest.Sent.WaitAsync(Pair.Limit), HonestBytes), await _honest.Received.WaitAsync(Pair.Limit));
        await Pair.Until(() => Victim.SessionWith("alpha").Lanes.All(l => l is { State: LaneState.Up, LastError: null }), "all lanes of alpha");
    }

    /// <summary>Nothing of the abuse is left: no stream of the peer's, and no buffer but those that the lanes of alpha read into.</summary>
    public async Task NothingLeftAsync()
    {
        foreach (var peer in _peers)
        {
            await peer.DisposeAsync();
        }

        _peers.Clear();
        await Pair.Until(() => Victim.Tunnel.Status.Sessions.Where(s => s.Peer != "alpha").All(s => s.Streams == 0), "no streams");
        await Pair.Until(() => Victim.Tunnel.Usage is { Retained: 0, Handshakes: 0 }, "nothing retained, no handshakes");
        await Pair.Until(() => Victim.Tunnel.Usage.MemoryUsed <= 6 * 65_536, "buffers given back");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var peer in _peers)
        {
            await peer.DisposeAsync();
        }

        await Pair.DisposeAsync();
    }
}
