using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Fabric.Testing;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>Records after the handshake: what TLS says in them, what is refused, and that another implementation understands them.</summary>
public sealed class TlsRecordTests : TlsTests
{
    private const byte KeyUpdate = 24;
    private const byte Ticket = 4;

    private static (string Heard, TlsStatus Status) Hear(TlsSession at)
    {
        var buffer = new byte[200_000];
        var count = at.Read(buffer, out var status);
        return (Encoding.ASCII.GetString(buffer, 0, count), status);
    }

    public static TheoryData<string, byte, byte[], string?> Said => new()
    {
        { "user_canceled", 21, [1, 90], null },
        { "an empty record", 23, [], null },
        { "a ticket", 22, [Ticket, 0, 0, 3, 1, 2, 3], null },
        { "a ticket and a key update", 22, [Ticket, 0, 0, 3, 1, 2, 3, KeyUpdate, 0, 0, 1, 0], "" },
        { "an alert", 21, [2, 80], "the peer ended TLS with the alert internal error" },
        { "half an alert", 21, [2], "TLS failed: bad alert (alert decode error)" },
        { "a key update of two bytes", 22, [KeyUpdate, 0, 0, 2, 0, 0], "TLS failed: a handshake message of the wrong length (alert decode error)" },
        { "a key update that asks for 2", 22, [KeyUpdate, 0, 0, 1, 2], "TLS failed: bad key update (alert illegal parameter)" },
        { "something behind a key update", 22, [KeyUpdate, 0, 0, 1, 0, KeyUpdate], "TLS failed: a message after a key update, under the old key (alert unexpected_message)" },
        { "a new handshake", 22, [1, 0, 0, 3, 1, 2, 3], "TLS failed: unexpected handshake message 1 (alert unexpected_message)" },
        { "an empty handshake record", 22, [], "TLS failed: bad content type (alert unexpected_message)" },
        { "an unknown type", 99, [1], "TLS failed: bad content type (alert unexpected_message)" },
    };

    [RequiresTheory("libssl")]
    [MemberData(nameof(Said))]
    public void What_TLS_says_is_heard_or_ends_it(string what, byte type, byte[] content, string? error)
    {
        var pair = Pair();
        Assert.True(pair.Server.TrySeal(content, type));
        Assert.Equal(5, pair.Server.Write("words"u8, out _));
        pair.Server.Flush();
        var (heard, status) = Hear(pair.Client);
        if (error is null)
        {
            Assert.Equal((what, "words", TlsStatus.WantRead), (what, heard, status));
            return;
        }

        // The server goes on under its old key, which the client no longer takes.
        error = error.Length > 0 ? error : "TLS failed: decryption failed or bad record mac (alert bad record mac)";
        Assert.Equal((what, "", TlsStatus.Failed, error), (what, heard, status, pair.Client.Error));
    }

    [RequiresFact("libssl")]
    public void A_server_takes_no_ticket()
    {
        var pair = Pair();
        Assert.True(pair.Client.TrySeal([Ticket, 0, 0, 3, 1, 2, 3], TlsRecordType.Handshake));
        pair.Client.Flush();
        Assert.Equal(TlsStatus.Failed, Hear(pair.Server).Status);
        Assert.Equal("TLS failed: unexpected handshake message 4 (alert unexpected_message)", pair.Server.Error);
    }

    [RequiresTheory("libssl")]
    [InlineData(true)]
    [InlineData(false)]
    public void A_handshake_message_may_come_in_pieces_with_nothing_between_them(bool between)
    {
        var pair = Pair();
        foreach (var one in new byte[] { Ticket, 0, 0, 2, 1 })
        {
            Assert.True(pair.Server.TrySeal([one], TlsRecordType.Handshake));
        }

        if (between)
        {
            pair.Server.Write("between"u8, out _);
        }

        pair.Server.TrySeal([1], TlsRecordType.Handshake);
        pair.Server.Write("words"u8, out _);
        pair.Server.Flush();
        Assert.Equal(between ? ("", TlsStatus.Failed) : ("words", TlsStatus.WantRead), Hear(pair.Client));
        Assert.Equal(between ? "TLS failed: a record in the middle of a handshake message (alert unexpected_message)" : null, pair.Client.Error);
    }

    [RequiresTheory("libssl")]
    [InlineData(false, "too many empty records in a row")]
    [InlineData(true, "too many warnings in a row")]
    public void Records_that_carry_nothing_are_bounded(bool alerts, string error)
    {
        var pair = Pair();
        for (var i = 0; i < 33; i++)
        {
            pair.Client.TrySeal(alerts ? [1, 90] : [], alerts ? TlsRecordType.Alert : TlsRecordType.ApplicationData);
            if (i == 31)
            {
                pair.Client.Flush();
                Assert.Equal(("", TlsStatus.WantRead), Hear(pair.Server));
            }
        }

        pair.Client.Flush();
        Assert.Equal(TlsStatus.Failed, Hear(pair.Server).Status);
        Assert.Contains(error, pair.Server.Error);
    }

    /// <summary>Padding (RFC 8446 §5.4) is zeros behind the type, which here is a part of what is sealed.</summary>
    [RequiresFact("libssl")]
    public void Padding_is_left_out()
    {
        var pair = Pair();
        pair.Client.TrySeal([.. "padded"u8, TlsRecordType.ApplicationData, 0, 0, 0], 0);
        pair.Client.TrySeal([TlsRecordType.ApplicationData, 0], 0);
        pair.Client.Flush();
        Assert.Equal(("padded", TlsStatus.WantRead), Hear(pair.Server));
        pair.Client.TrySeal(new byte[1_000], 0);
        pair.Client.Flush();
        Assert.Equal(("", TlsStatus.Failed), Hear(pair.Server));
    }

    [RequiresTheory("libssl")]
    [InlineData(0x17, 16_384 + 1 + 16 + 1, "TLS failed: record length too long (alert record overflow)")]
    [InlineData(0x17, 16, "TLS failed: record length too short (alert bad record mac)")]
    [InlineData(0x16, 100, "TLS failed: bad record type (alert unexpected_message)")]
    public void A_header_that_cannot_be_ends_it_at_once(byte type, int length, string error)
    {
        var pair = Pair();
        pair.ToServer.Put([type, 3, 3, (byte)(length >> 8), (byte)length]);
        Assert.Equal(TlsStatus.Failed, Hear(pair.Server).Status);
        Assert.Equal(error, pair.Server.Error);
    }

    [RequiresTheory("libssl")]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Whatever_becomes_of_the_bytes_none_is_wrong(int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < 100; round++)
        {
            var pair = Pair();
            var data = new byte[random.Next(1, 60_000)];
            random.NextBytes(data);
            for (var at = 0; at < data.Length;)
            {
                at += pair.Client.Write(data.AsSpan(at, Math.Min(random.Next(1, 20_000), data.Length - at)), out _);
            }

            pair.Client.Flush();
            var bytes = new byte[pair.ToServer.Length];
            pair.ToServer.Take(bytes);
            pair.ToServer.Put(Spoil(bytes, random));
            pair.ToServer.Ended = pair.Server.HungUp = true;
            var (got, buffer) = (new List<byte>(), new byte[random.Next(1, 30_000)]);
            TlsStatus status;
            do
            {
                got.AddRange(buffer.AsSpan(0, pair.Server.Read(buffer, out status)));
            }
            while (status == TlsStatus.Done);

            Assert.Contains(status, new[] { TlsStatus.Failed, TlsStatus.Truncated });
            Assert.True(data.AsSpan().StartsWith(got.ToArray()), $"round {round}");
        }
    }

    private static byte[] Spoil(byte[] bytes, Random random)
    {
        var (at, length) = (random.Next(bytes.Length), random.Next(1, 40_000));
        length = Math.Min(length, bytes.Length - at);
        switch (random.Next(4))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                return bytes;
            case 1:
                return [.. bytes[..at], .. bytes[(at + length)..]];
            case 2:
                return [.. bytes[..(at + length)], .. bytes[at..]];
            default:
                random.NextBytes(bytes.AsSpan(at, length));
                return bytes;
        }
    }

    /// <summary>OpenSSL's own client: it changes its key, asks for ours, and understands what comes under the new ones.</summary>
    [RequiresFact("libssl", "openssl")]
    public async Task Another_implementation_understands_keys_that_change()
    {
        using var listener = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        var folder = Directory.CreateTempSubdirectory("fabric-tls-");
        try
        {
            var identity = Gateway("alpha");
            var (chain, key) = (Path.Combine(folder.FullName, "chain.pem"), Path.Combine(folder.FullName, "key.pem"));
            var leaf = identity.Certificate.TargetCertificate;
            await File.WriteAllTextAsync(chain, string.Join('\n', identity.Certificate.IntermediateCertificates.Prepend(leaf).Select(c => c.ExportCertificatePem())));
            await File.WriteAllTextAsync(key, leaf.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
            using var openssl = Process.Start(new ProcessStartInfo("openssl",
                ["s_client", "-connect", listener.LocalEndpoint.ToString()!, "-tls1_3", "-alpn", "fabric/1", "-cert", chain, "-cert_chain", chain, "-key", key])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            try
            {
                var output = openssl.StandardOutput.ReadToEndAsync();
                var errors = openssl.StandardError.ReadToEndAsync();
                var socket = await listener.AcceptSocketAsync();
                using var server = new TlsEnd(TlsSession.Server(Context("beta"), TlsEnd.Over(socket), ["fabric/1"]), socket);
                Assert.Equal(TlsStatus.Done, await server.HandshakeAsync());

                // Its commands are lines of one letter: K changes both keys, k its own.
                foreach (var (command, words) in new[] { ("", "one\n"), ("K\n", "two\n"), ("k\n", "three\n"), ("K\n", "four\n") })
                {
                    if (command.Length > 0)
                    {
                        await openssl.StandardInput.WriteAsync(command);
                        await openssl.StandardInput.FlushAsync();
                        // Only what begins a read of its own is a command.
                        await Wait.UntilAsync(() => socket.Available > 0, () => "the change of keys arrives");
                    }

                    await openssl.StandardInput.WriteAsync(words);
                    await openssl.StandardInput.FlushAsync();
                    var buffer = new byte[words.Length];
                    await server.ReadExactlyAsync(buffer);
                    Assert.Equal(words, Encoding.ASCII.GetString(buffer));
                    await server.WriteAsync(Encoding.ASCII.GetBytes("heard " + words));
                }

                server.Session.UpdateKey(ofPeer: true);
                await server.WriteAsync("changed here\n"u8.ToArray());
                await openssl.StandardInput.WriteAsync("five\n");
                await openssl.StandardInput.FlushAsync();
                var last = new byte[5];
                await server.ReadExactlyAsync(last);
                Assert.Equal("five\n", Encoding.ASCII.GetString(last));
                await server.CloseAsync();
                await openssl.WaitForExitAsync().WaitAsync(Wait.Limit);
                var all = await output;
                Assert.All(["heard one", "heard two", "heard three", "heard four", "changed here"], words => Assert.Contains(words, all));
                Assert.DoesNotContain("error", (await errors).Split('\n').Where(l => !l.StartsWith("verify", StringComparison.Ordinal)).Aggregate("", (a, b) => a + b));
            }
            finally
            {
                if (!openssl.HasExited)
                {
                    openssl.Kill();
                }
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
