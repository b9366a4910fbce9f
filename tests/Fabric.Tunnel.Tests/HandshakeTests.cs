using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Tunnel;
using Fabric.Testing;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Tests;

/// <summary>Floods of handshakes and handshakes that stall: known peers get in, strangers get what is left.</summary>
public abstract class HandshakeTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    /// <summary>Connects from an address of its own in 127.0.0.0/8, which is this machine's.</summary>
    private static async Task<Socket> ConnectAsync(IPEndPoint port, string from = "127.0.0.1")
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
        try
        {
            await socket.ConnectAsync(port).WaitAsync(Pair.Limit);
        }
        catch (SocketException error) when (error.SocketErrorCode == SocketError.ConnectionReset)
        {
            // So quickly was it closed.
        }

        return socket;
    }

    /// <summary>The other side closed it, in whatever way.</summary>
    private static async Task ClosedAsync(Socket socket)
    {
        try
        {
            while (await socket.ReceiveAsync(new byte[4096]).WaitAsync(Pair.Limit) > 0)
            {
            }
        }
        catch (SocketException)
        {
        }
    }

    private static readonly byte[] _halfClientHello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3, 1, 2, 3, 4];

    [Fact]
    public async Task Whoever_stalls_is_closed_with_the_reason()
    {
        await using var siege = await Siege.LayAsync(_authority, driver, new TunnelLimits { HandshakeTimeout = TimeSpan.FromSeconds(5) });
        using var silent = await ConnectAsync(siege.Port);
        using var half = await ConnectAsync(siege.Port);
        await half.SendAsync(_halfClientHello);
        await using var mute = await EvilPeer.DialAsync(siege.Identity(), siege.Port);
        await using var slow = await EvilPeer.DialAsync(siege.Identity(), siege.Port);
        await slow.SendRawAsync(EvilPeer.Frame(FrameType.Hello, payload: new byte[100]).AsMemory(0, 50));
        await ClosedAsync(silent);
        await ClosedAsync(half);
        await Assert.ThrowsAnyAsync<IOException>(() => mute.NextAsync(FrameType.Hello));
        await Assert.ThrowsAnyAsync<IOException>(() => slow.NextAsync(FrameType.Hello));
        await Pair.Until(() => siege.Refused(Refusal.HandshakeTimeout) == 4, "four are counted");
        foreach (var what in new[] { "sent nothing", "TLS handshake did not end", "sent no HELLO" })
        {
            // Counted first, then logged.
            await Pair.Until(() => siege.Victim.Log.Any(line => line.Contains("closed after 5 s") && line.Contains(what)), $"the log says: {what}");
        }

        using var nonsense = await ConnectAsync(siege.Port);
        await nonsense.SendAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray());
        await ClosedAsync(nonsense);
        await Pair.Until(() => siege.Refused(Refusal.HandshakeFailed) == 1, "it is counted");
        await siege.HonestAsync();
        await siege.NothingLeftAsync();
    }

    [Fact]
    public async Task A_flood_from_many_addresses_is_closed_at_once_and_keeps_known_peers_in()
    {
        var limits = new TunnelLimits { MaxHandshakes = 8, MaxHandshakesPerAddress = 4, HandshakeTimeout = TimeSpan.FromSeconds(60) };
        await using var siege = await Siege.LayAsync(_authority, driver, limits);
        var flood = new List<Socket>();
        for (var i = 0; i < 100; i++)
        {
            flood.Add(await ConnectAsync(siege.Port, $"127.9.{i / 2}.1"));
        }

        await Pair.Until(() => siege.Refused(Refusal.HandshakeLimit) == 92, "all but 8 are turned away");
        Assert.Equal(8, siege.Victim.Tunnel.Usage.Handshakes);

        // Which eight came first is the thread pool's to say: connections are served by tasks of their own.
        var ends = flood.ConvertAll(ClosedAsync);
        await Pair.Until(() => ends.Count(e => e.IsCompletedSuccessfully) == 92, "92 are closed");
        Assert.True(siege.Victim.Log.Count < 50, $"{siege.Victim.Log.Count} lines were logged");

        // The address of alpha is known since its lanes came from there: alpha dials again and gets in, while strangers hold all places.
        siege.Pair.Paths(["two"], ["one"]);
        await Pair.Until(() => siege.Pair.Alpha.SessionWith("beta").ActiveLink == "two", "lane one is gone");
        siege.Pair.Paths(["one", "two"], []);
        await siege.Pair.LanesAsync(2);
        await siege.HonestAsync();

        // And a stranger from elsewhere does not, until there is room.
        using var late = await ConnectAsync(siege.Port, "127.9.200.1");
        await ClosedAsync(late);
        flood.ForEach(s => s.Dispose());
        await Pair.Until(() => siege.Victim.Tunnel.Usage.Handshakes == 0, "the places are free again");
        await siege.NothingLeftAsync();
    }

    [Fact]
    public async Task One_address_has_its_part_and_no_more()
    {
        var limits = new TunnelLimits { MaxHandshakes = 8, MaxHandshakesPerAddress = 4, HandshakeTimeout = TimeSpan.FromSeconds(60) };
        await using var siege = await Siege.LayAsync(_authority, driver, limits);
        var flood = new List<Socket>();
        for (var i = 0; i < 50; i++)
        {
            flood.Add(await ConnectAsync(siege.Port, "127.9.0.1"));
        }

        await Pair.Until(() => siege.Refused(Refusal.HandshakeAddressLimit) == 46, "all but 4 are turned away");
        using var other = await ConnectAsync(siege.Port, "127.9.0.2");
        await Pair.Until(() => siege.Victim.Tunnel.Usage.Handshakes == 5, "another address gets in");
        flood.ForEach(s => s.Dispose());
        await siege.HonestAsync();
    }

    [Fact]
    public async Task One_gateway_has_its_part_of_the_handshakes()
    {
        var limits = new TunnelLimits { MaxHandshakesPerPeer = 4, HandshakeTimeout = TimeSpan.FromSeconds(60) };
        await using var siege = await Siege.LayAsync(_authority, driver, limits);
        var peers = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => EvilPeer.DialAsync(siege.Identity(), siege.Port)));

        // Whose certificate was read last is the thread pool's to say: one of the five is turned away, four wait for HELLO.
        var refused = await await Task.WhenAny(peers.Select(p => p.ClosedAsync()));
        Assert.Contains("4 handshakes of evil-0", refused.Reason);
        await Pair.Until(() => siege.Victim.Tunnel.Usage.Handshakes == 4, "four wait for HELLO");
        await siege.JoinAsync(peer: 1);
        await Pair.Until(() => siege.Refused(Refusal.HandshakePeerLimit) == 1, "it is counted");
        await siege.HonestAsync();
        foreach (var one in peers)
        {
            await one.DisposeAsync();
        }
    }

    [Fact]
    public void A_place_is_of_an_ipv4_address_or_of_a_64()
    {
        var gate = new HandshakeGate(new TunnelLimits { MaxHandshakes = 3, MaxHandshakesPerAddress = 2 });
        Assert.NotNull(gate.TryEnter(IPAddress.Parse("2001:db8:0:1::1"), default, out _));
        using var second = gate.TryEnter(IPAddress.Parse("2001:db8:0:1:ffff::2"), default, out _);
        Assert.NotNull(second);
        Assert.Null(gate.TryEnter(IPAddress.Parse("2001:db8:0:1::3"), default, out var why));
        Assert.Equal(Refusal.HandshakeAddressLimit, why);
        second.Dispose();
        second.Dispose();
        Assert.NotNull(gate.TryEnter(IPAddress.Parse("2001:db8:0:2::1"), default, out _));
        Assert.NotNull(gate.TryEnter(IPAddress.Parse("::ffff:192.0.2.1"), default, out _));
        Assert.Null(gate.TryEnter(IPAddress.Parse("192.0.2.2"), default, out why));
        Assert.Equal(Refusal.HandshakeLimit, why);
        gate.Plan([IPAddress.Parse("192.0.2.2")]);
        gate.Met(IPAddress.Parse("::ffff:192.0.2.3"));
        Assert.NotNull(gate.TryEnter(IPAddress.Parse("192.0.2.2"), default, out _));
        Assert.NotNull(gate.TryEnter(IPAddress.Parse("192.0.2.3"), default, out _));
        Assert.Equal(5, gate.Count);
    }

    [Fact]
    public void An_address_begins_so_many_in_a_second_and_the_table_is_bounded()
    {
        var gate = new HandshakeGate(new TunnelLimits { MaxHandshakes = 5_000 });
        var (one, begun, now) = (IPAddress.Parse("192.0.2.1"), 0, TimeSpan.FromMinutes(1));
        Refusal why;
        while (gate.TryEnter(one, now, out why) is { } place)
        {
            begun++;
            place.Dispose();
        }

        Assert.Equal((HandshakeGate.Rate * 2, Refusal.HandshakeRate), (begun, why));
        now += TimeSpan.FromSeconds(0.5);
        for (begun = 0; gate.TryEnter(one, now, out why) is { } place; begun++)
        {
            place.Dispose();
        }

        Assert.Equal(HandshakeGate.Rate / 2, begun);
        for (begun = 0; gate.TryEnter(new IPAddress(0x0A + ((long)begun << 8)), now, out why) is { } place && begun < 100_000; begun++)
        {
            place.Dispose();
        }

        // The table is full of addresses that were here a moment ago: further strangers share what one may begin.
        Assert.Equal((4_095 + HandshakeGate.Rate * 2, Refusal.HandshakeRate), (begun, why));
        gate.Met(IPAddress.Parse("192.0.2.9"));
        Assert.NotNull(gate.TryEnter(IPAddress.Parse("192.0.2.9"), now, out _));
        Assert.NotNull(gate.TryEnter(IPAddress.Parse("192.0.2.10"), now + TimeSpan.FromSeconds(10), out _));
    }
}

public sealed class PortableHandshakeTests() : HandshakeTests(TunnelDriver.Portable);

public sealed class LinuxHandshakeTests() : HandshakeTests(TunnelDriver.Linux);
