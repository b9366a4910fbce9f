using System.Net.Sockets;
using System.Security.Cryptography;
using Fabric.Testing;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>What comes after the handshake: bytes, their keys, what they cost.</summary>
public sealed class TlsDataTests : TlsTests
{
    [RequiresTheory("libssl")]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Bytes_cross_both_ways_at_once_in_pieces_of_any_size(int seed)
    {
        const int Total = 30_000_000;
        var (client, server) = await SocketsAsync();
        var hashes = await Task.WhenAll(
            SendAsync(client, seed), SendAsync(server, seed + 10), ReceiveAsync(client, seed + 20), ReceiveAsync(server, seed + 30));
        Assert.Equal(hashes[0], hashes[3]);
        Assert.Equal(hashes[1], hashes[2]);

        // Writes and reads of one session are of one thread at a time.
        async Task<string> SendAsync(TlsEnd end, int seed)
        {
            var (random, buffer, left) = (new Random(seed), new byte[300_000], Total);
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            while (left > 0)
            {
                var piece = buffer.AsMemory(0, Math.Min(left, random.Next(3) == 0 ? random.Next(1, 100) : random.Next(1, buffer.Length)));
                random.NextBytes(piece.Span);
                hash.AppendData(piece.Span);
                left -= piece.Length;
                while (true)
                {
                    lock (end)
                    {
                        piece = piece[end.Session.Write(piece.Span, out _)..];
                        if (end.Session.Flush() == TlsStatus.Done && piece.Length == 0)
                        {
                            break;
                        }
                    }

                    await Task.Delay(1);
                }
            }

            return Convert.ToHexString(hash.GetHashAndReset());
        }

        async Task<string> ReceiveAsync(TlsEnd end, int seed)
        {
            var (random, buffer, left) = (new Random(seed), new byte[300_000], Total);
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            while (left > 0)
            {
                int count;
                lock (end)
                {
                    count = end.Session.Read(buffer.AsSpan(0, random.Next(1, buffer.Length)), out var status);
                    Assert.True(status is TlsStatus.Done or TlsStatus.WantRead, $"{status}: {end.Session.Error}");
                }

                hash.AppendData(buffer.AsSpan(0, count));
                left -= count;
                if (count == 0)
                {
                    await Task.Delay(1);
                }
            }

            Assert.Equal(0, left);
            return Convert.ToHexString(hash.GetHashAndReset());
        }
    }

    [RequiresFact("libssl")]
    public void Records_that_come_and_go_in_any_pieces_are_whole_again()
    {
        var random = new Random(5);
        var pair = Pair();
        (pair.ToServer.Piece, pair.ToServer.Room) = (() => random.Next(1, 3_000), 40_000);
        var (sent, got) = (new MemoryStream(), new MemoryStream());
        var buffer = new byte[50_000];
        while (sent.Length < 3_000_000)
        {
            random.NextBytes(buffer);
            var count = pair.Client.Write(buffer.AsSpan(0, random.Next(1, buffer.Length)), out _);
            sent.Write(buffer, 0, count);
            Pump();
        }

        while (pair.Client.OutputLength + pair.ToServer.Length > 0)
        {
            Pump();
        }

        Assert.True(sent.ToArray().AsSpan().SequenceEqual(got.ToArray()));

        void Pump()
        {
            pair.Client.Flush();
            var count = pair.Server.Read(buffer.AsSpan(0, random.Next(1, buffer.Length)), out _);
            got.Write(buffer, 0, count);
        }
    }

    [RequiresFact("libssl")]
    public void Many_records_arrive_in_one_receive_and_a_short_one_is_the_last()
    {
        var pair = Pair();
        var data = new byte[100_000];
        Assert.Equal(data.Length, pair.Client.Write(data, out _));
        pair.Client.Flush();
        var before = pair.Server.Receives;

        // The buffer ends in the middle of a record: the rest waits here, and the socket is empty.
        Assert.Equal(20_000, pair.Server.Read(new byte[20_000], out var status));
        Assert.Equal((TlsStatus.Done, 0), (status, pair.ToServer.Length));
        Assert.Equal(80_000, pair.Server.Read(data, out status));
        Assert.Equal(TlsStatus.WantRead, status);
        Assert.Equal(2, pair.Server.Receives - before);

        // Told that the end has come, it asks until it has heard it.
        Say(pair.Client, "last words");
        pair.Server.HungUp = true;
        pair.ToServer.Ended = true;
        Assert.Equal(10, pair.Server.Read(data, out status));
        Assert.Equal(TlsStatus.Truncated, status);
    }

    [RequiresFact("libssl")]
    public async Task A_full_output_takes_no_more_until_the_peer_reads()
    {
        var options = new TlsOptions { Time = Time, OutputLimit = 200_000 };
        var (client, server) = await SocketsAsync(options);
        var (data, sent) = (new byte[1_000_000], 0);
        new Random(7).NextBytes(data);
        TlsStatus written;
        do
        {
            sent += client.Session.Write(data.AsSpan(sent % data.Length), out written);
            client.Session.Flush();
            Assert.InRange(client.Session.OutputLength, 0, options.OutputLimit);
        }
        while (written != TlsStatus.WantWrite || client.Session.OutputLength < options.OutputLimit - 17_000);
        Assert.Equal(0, client.Session.Write(new byte[20_000], out written));
        Assert.Equal(TlsStatus.WantWrite, written);

        var buffer = new byte[sent];
        await Task.WhenAll(client.FlushAsync(), server.ReadExactlyAsync(buffer));
        for (var at = 0; at < sent; at++)
        {
            Assert.True(data[at % data.Length] == buffer[at], $"byte {at} of {sent}");
        }

        await client.WriteAsync(data);
    }

    [RequiresFact("libssl")]
    public void What_is_held_waits_and_nothing_is_lost()
    {
        var pair = Pair();
        pair.Client.HoldWrites = true;
        Assert.Equal(4, pair.Client.Write("held"u8, out var status));
        Assert.Equal((TlsStatus.Done, TlsStatus.WantWrite, 0), (status, pair.Client.Flush(), pair.ToServer.Length));
        Assert.Equal(4 + 22, pair.Client.OutputLength);
        pair.Client.HoldWrites = false;
        pair.Server.HoldReads = true;
        Assert.Equal(TlsStatus.Done, pair.Client.Flush());
        Assert.Equal("", Hear(pair.Server));
        Assert.Equal(26, pair.ToServer.Length);
        pair.Server.HoldReads = false;
        Assert.Equal("held", Hear(pair.Server));
    }

    [RequiresFact("libssl")]
    public void An_idle_connection_gives_its_output_back()
    {
        var pair = Pair();
        Assert.Equal(400_000, pair.Client.Write(new byte[400_000], out _));
        pair.Client.Trim();
        Assert.InRange(pair.Client.OutputLength, 400_000, 402_000);
        pair.Client.Flush();
        Assert.InRange(pair.Client.OutputCapacity, 400_000, 600_000);
        pair.Client.Trim();
        Assert.Equal(0, pair.Client.OutputCapacity);
        Say(pair.Client, "again");
    }

    [RequiresFact("libssl")]
    public void Steady_traffic_allocates_nothing_on_the_managed_heap()
    {
        var (to, back) = (new Pipe(), new Pipe());
        using var client = TlsSession.Client(Context("alpha"), new PipeEnd(back, to), "fabric/1", null);
        using var server = TlsSession.Server(Context("beta"), new PipeEnd(to, back), ["fabric/1"]);
        while (client.Handshake() != TlsStatus.Done | server.Handshake() != TlsStatus.Done)
        {
            client.Flush();
            server.Flush();
        }

        server.Flush();
        var (data, buffer, got) = (new byte[40_000], new byte[40_000], 0L);
        Exchange(100);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Exchange(1_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(1_100L * 40_000, got);

        void Exchange(int times)
        {
            for (var i = 0; i < times; i++)
            {
                client.Write(data, out _);
                client.Flush();
                got += server.Read(buffer, out _);
                server.Read(buffer, out _);
            }
        }
    }

    [RequiresFact("libssl")]
    public void The_peer_changes_keys_and_its_wish_is_answered()
    {
        var pair = Pair();
        Say(pair.Client, "one");
        Assert.Equal("one", Hear(pair.Server));
        pair.Client.UpdateKey(ofPeer: true);
        Assert.True(pair.Client.OutputLength > 0);
        Say(pair.Client, "two");
        Assert.Equal("two", Hear(pair.Server));
        var before = pair.Server.BytesSent;
        Say(pair.Server, "three");
        Assert.Equal(27 + 5 + 22, pair.Server.BytesSent - before);
        Assert.Equal("three", Hear(pair.Client));
        pair.Server.UpdateKey(ofPeer: false);
        Say(pair.Server, "four");
        Assert.Equal("four", Hear(pair.Client));
        Assert.Equal(0, pair.Client.OutputLength);
    }

    [RequiresFact("libssl")]
    public void Keys_are_changed_before_they_wear_out()
    {
        var pair = Pair(new TlsOptions { Time = Time, KeyUpdateAfter = 3 });
        for (var i = 0; i < 20; i++)
        {
            var before = pair.Client.BytesSent;
            Say(pair.Client, "word");
            var bytes = pair.Client.BytesSent - before;
            Assert.Equal(i > 0 && i % 3 == 0 ? 26 + 27 : 26, bytes);
            Assert.Equal("word", Hear(pair.Server));
        }
    }

    [RequiresFact("libssl")]
    public async Task A_connection_may_move_from_thread_to_thread()
    {
        var pair = Pair();
        for (var i = 0; i < 50; i++)
        {
            await Task.Factory.StartNew(() => Say(pair.Client, "one"), TaskCreationOptions.LongRunning);
            await Task.Factory.StartNew(() => Assert.Equal("one", Hear(pair.Server)), TaskCreationOptions.LongRunning);
        }
    }

    /// <summary>Bytes in an array of fixed size, which allocates nothing.</summary>
    private sealed class Pipe
    {
        public readonly byte[] Bytes = new byte[1_000_000];
        public int Length;
    }

    private sealed class PipeEnd(Pipe @in, Pipe @out) : ITlsTransport
    {
        public int Receive(Span<byte> buffer)
        {
            var count = Math.Min(buffer.Length, @in.Length);
            @in.Bytes.AsSpan(0, count).CopyTo(buffer);
            @in.Bytes.AsSpan(count, @in.Length - count).CopyTo(@in.Bytes);
            @in.Length -= count;
            return count > 0 ? count : -ITlsTransport.TryAgain;
        }

        public int Send(ReadOnlySpan<byte> bytes, bool moreFollows)
        {
            bytes.CopyTo(@out.Bytes.AsSpan(@out.Length));
            @out.Length += bytes.Length;
            return bytes.Length;
        }
    }
}
