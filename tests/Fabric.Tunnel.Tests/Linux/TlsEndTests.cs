using System.Net.Sockets;
using Fabric.Testing;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>How connections end: as agreed, cut off, or for what the peer did.</summary>
public sealed class TlsEndTests : TlsTests
{
    [RequiresFact("libssl")]
    public async Task An_end_is_told_from_a_cut()
    {
        var (client, server) = await SocketsAsync();
        await client.WriteAsync("good bye"u8.ToArray());
        await client.CloseAsync();
        var buffer = new byte[100];
        Assert.Equal(8, (await server.ReadAsync(buffer)).Count);
        Assert.Equal((0, TlsStatus.Closed), await server.ReadAsync(buffer));
        Assert.Null(server.Session.Error);

        // The other half goes on.
        await server.WriteAsync("and to you"u8.ToArray());
        Assert.Equal(10, (await client.ReadAsync(buffer)).Count);
        server.Socket.Shutdown(SocketShutdown.Send);
        Assert.Equal((0, TlsStatus.Truncated), await client.ReadAsync(buffer));
        Assert.Equal("the peer closed the connection without close_notify", client.Session.Error);
        Assert.Equal((0, TlsStatus.Truncated), await client.ReadAsync(buffer));
    }

    [RequiresFact("libssl")]
    public void A_record_that_breaks_off_is_a_cut()
    {
        var pair = Pair();
        Assert.Equal(3, pair.Client.Write("one"u8, out _));
        pair.Client.Flush();
        Assert.Equal(3, pair.Client.Write("two"u8, out _));
        pair.Client.Flush();
        pair.ToServer.Cut(1);
        Assert.Equal("one", Hear(pair.Server));
        pair.ToServer.Ended = true;
        Assert.Equal("", Hear(pair.Server, TlsStatus.Truncated));
    }

    [RequiresFact("libssl")]
    public void Garbage_and_flipped_bits_fail_it_and_the_peer_is_told()
    {
        var pair = Pair();
        Say(pair.Client, "hello");
        pair.ToServer.Flip(pair.ToServer.Length - 1);
        Assert.Equal("", Hear(pair.Server, TlsStatus.Failed));
        Assert.Contains("(alert bad record mac)", pair.Server.Error);
        Assert.Equal(TlsStatus.Done, pair.Server.Flush());
        Assert.Equal("", Hear(pair.Client, TlsStatus.Failed));
        Assert.Equal("the peer ended TLS with the alert bad record mac", pair.Client.Error);

        var other = Pair();
        other.ToClient.Put(new byte[1000]);
        Assert.Equal("", Hear(other.Client, TlsStatus.Failed));
        Assert.NotNull(other.Client.Error);
    }

    [RequiresFact("libssl")]
    public async Task A_reset_is_told_and_so_is_a_peer_that_takes_nothing()
    {
        var (client, server) = await SocketsAsync();
        server.Socket.LingerState = new LingerOption(true, 0);
        server.Socket.Dispose();
        var (_, status) = await client.ReadAsync(new byte[10]);
        Assert.Equal((TlsStatus.Failed, "the connection failed: Connection reset by peer"), (status, client.Session.Error));

        // What the peer said before it closed is read all the same.
        var pair = Pair();
        Say(pair.Server, "why");
        pair.ToServer.Broken = true;
        Assert.Equal(5, pair.Client.Write("bytes"u8, out _));
        Assert.Equal((TlsStatus.Failed, "the connection failed: Broken pipe"), (pair.Client.Flush(), pair.Client.Error));
        Assert.Equal(0, pair.Client.Write("bytes"u8, out status));
        Assert.Equal(TlsStatus.Failed, status);
        Assert.Equal("why", Hear(pair.Client));
    }

    [RequiresFact("libssl")]
    public void A_record_that_is_not_encrypted_ends_the_connection()
    {
        // ChangeCipherSpec, which TLS 1.3 tolerates in the handshake alone (RFC 8446 §5).
        var pair = Pair();
        pair.ToServer.Put([0x14, 3, 3, 0, 1, 1]);
        Assert.Equal("", Hear(pair.Server, TlsStatus.Failed));
        Assert.Equal("TLS failed: bad record type (alert unexpected_message)", pair.Server.Error);
    }

    [RequiresTheory("libssl")]
    [InlineData(true)]
    [InlineData(false)]
    public void A_flood_of_key_updates_ends_the_connection_at_the_limit(bool answered)
    {
        var pair = Pair();
        for (var i = 0; i < (answered ? 16 : 32); i++)
        {
            pair.Client.UpdateKey(answered);
        }

        Say(pair.Client, "allowed");
        Assert.Equal("allowed", Hear(pair.Server));
        pair.Server.Flush();
        Assert.Equal("", Hear(pair.Client));

        // A second later as many again, and with them one too many, and thousands after it.
        Time.Advance(TimeSpan.FromSeconds(1));
        for (var i = 0; i < 5_000; i++)
        {
            pair.Client.UpdateKey(answered);
        }

        pair.Client.Flush();
        Assert.Equal("", Hear(pair.Server, TlsStatus.Failed));
        Assert.Equal("the peer sent more than 32 TLS handshake messages in a second", pair.Server.Error);
        Assert.InRange(pair.Server.OutputLength, 0, 20 * 27);
        Assert.Equal("", Hear(pair.Server, TlsStatus.Failed));
    }

    [RequiresFact("libssl")]
    public void An_error_of_one_connection_is_not_taken_for_that_of_another()
    {
        var (good, bad) = (Pair(), Pair());
        Say(bad.Client, "broken");
        bad.ToServer.Flip(10);
        Say(good.Client, "whole");
        Assert.Equal("", Hear(bad.Server, TlsStatus.Failed));
        Assert.Equal("whole", Hear(good.Server));

        // And one that somebody else left on this thread.
        Assert.Equal(0, LeaveError());
        Assert.Equal("", Hear(good.Server));
        Say(good.Client, "whole");
        Assert.Equal("whole", Hear(good.Server));
    }

    private static unsafe nint LeaveError()
    {
        byte nonsense = 1;
        var next = &nonsense;
        return Libssl.d2i_X509(0, &next, 1);
    }

    [RequiresFact("libssl")]
    public void Calls_out_of_turn_do_no_harm()
    {
        using var pair = new TlsMemoryPair(Context("alpha"), Context("beta"));
        Assert.Throws<InvalidOperationException>(() => pair.Client.Read(new byte[1], out _));
        pair.Client.SendCloseNotify();
        Assert.Equal(0, pair.Client.OutputLength);
        pair.Shake();
        Assert.Equal(TlsStatus.Done, pair.Client.Handshake());
        Assert.Equal(0, pair.Client.Write([], out var status));
        Assert.Equal(TlsStatus.Done, status);
        Assert.Equal(0, pair.Client.Read([], out status));
        Assert.Equal(TlsStatus.Done, status);
        pair.Client.SendCloseNotify();
        pair.Client.SendCloseNotify();
        Assert.Equal(24, pair.Client.OutputLength);
        Assert.Equal(0, pair.Client.Write("late"u8, out status));
        Assert.Equal(TlsStatus.Failed, status);
        pair.Client.Dispose();
        pair.Client.Dispose();
        Assert.Equal((TlsStatus.Failed, TlsStatus.Done), (pair.Client.Handshake(), pair.Client.Flush()));
    }
}
