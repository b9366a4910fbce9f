using System.Net;
using System.Text;
using Fabric.Overlay.Devices;
using Fabric.Overlay.Keys;
using Fabric.Overlay.Userspace;

namespace Fabric.Overlay.Tests.Userspace;

public sealed class UapiCodecTests
{
    private static readonly WireGuardKey _key = WireGuardKey.Generate();
    private static readonly WireGuardPublicKey _peer = WireGuardKey.Generate().PublicKey;

    private static readonly string _answer = $"""
        private_key={Convert.ToHexStringLower(_key.Secret)}
        listen_port=51820
        fwmark=1
        public_key={_peer.ToHex()}
        preshared_key={new string('0', 64)}
        protocol_version=1
        endpoint=[2001:db8::7]:51820
        last_handshake_time_sec=1767323045
        last_handshake_time_nsec=678000000
        tx_bytes=2000
        rx_bytes=1000
        persistent_keepalive_interval=25
        allowed_ip=fd00::2/128
        allowed_ip=10.0.0.0/8
        public_key={_key.PublicKey.ToHex()}
        last_handshake_time_sec=0
        last_handshake_time_nsec=0
        errno=0


        """;

    [Fact]
    public void A_change_is_written_in_the_order_of_the_protocol()
    {
        var change = new DeviceChange(_key, 51820,
        [
            new(_key.PublicKey) { Remove = true },
            new(_peer)
            {
                Add = true,
                ReplaceAllowedIps = true,
                Endpoint = IPEndPoint.Parse("[::ffff:192.0.2.1]:51820"),
                Keepalive = TimeSpan.FromSeconds(25),
                AllowedIps = [IPNetwork.Parse("fd00::2/128")],
            },
            new(_peer) { Keepalive = TimeSpan.Zero },
        ]);
        Assert.Equal($"""
            set=1
            private_key={Convert.ToHexStringLower(_key.Secret)}
            listen_port=51820
            public_key={_key.PublicKey.ToHex()}
            remove=true
            public_key={_peer.ToHex()}
            endpoint=192.0.2.1:51820
            persistent_keepalive_interval=25
            replace_allowed_ips=true
            allowed_ip=fd00::2/128
            public_key={_peer.ToHex()}
            update_only=true
            persistent_keepalive_interval=0


            """, Encoding.ASCII.GetString(UapiCodec.Set(change)));
    }

    [Fact]
    public void A_device_is_read()
    {
        var status = UapiCodec.ParseDevice("userspace", "fab", _answer);
        Assert.Equal(_key.PublicKey, status.PublicKey);
        Assert.Equal(51820, status.ListenPort);
        var peer = status.Peers[0];
        Assert.Equal((_peer, "[2001:db8::7]:51820", 1000L, 2000L),
            (peer.PublicKey, peer.Endpoint!.ToString(), peer.ReceivedBytes, peer.SentBytes));
        Assert.Equal(new DateTimeOffset(2026, 1, 2, 3, 4, 5, 678, TimeSpan.Zero), peer.LastHandshake);
        Assert.Equal(["fd00::2/128", "10.0.0.0/8"], peer.AllowedIps.Select(r => r.ToString()));
        Assert.Null(status.Peers[1].LastHandshake);
        Assert.Empty(status.Peers[1].AllowedIps);
        Assert.Null(UapiCodec.ParseDevice("userspace", "fab", $"private_key={new string('0', 64)}\nerrno=0\n\n").PublicKey);
    }

    [Theory]
    [InlineData("errno=0\n\n", 0)]
    [InlineData("errno=-98\n\n", 98)]
    [InlineData("listen_port=1\nerrno=22\n\n", 22)]
    public void The_error_number_is_positive_whatever_its_sign(string answer, int errno) =>
        Assert.Equal(errno, UapiCodec.ParseErrno(answer));

    [Theory]
    [InlineData("endpoint=1.2.3.4:5\nerrno=0\n\n")] // of no peer
    [InlineData("listen_port=65536\nerrno=0\n\n")]
    [InlineData("public_key=00\nerrno=0\n\n")]
    [InlineData("nonsense\nerrno=0\n\n")]
    [InlineData("=1\n")]
    public void What_breaks_the_protocol_is_refused(string answer) =>
        Assert.Throws<InvalidDataException>(() => UapiCodec.ParseDevice("userspace", "fab", answer));

    [Theory]
    [InlineData("")]
    [InlineData("xerrno=0\n\n")]
    [InlineData("errno=\n\n")]
    [InlineData("errno=99999999999999999999\n\n")]
    public void An_answer_without_an_error_number_is_refused(string answer) =>
        Assert.Throws<InvalidDataException>(() => UapiCodec.ParseErrno(answer));

    [Fact]
    public void Any_text_gives_a_result_or_a_format_error()
    {
        var random = new Random(20260102);
        var lines = _answer.Split('\n');
        var (parsed, refused) = (0, 0);
        for (var round = 0; round < 20_000; round++)
        {
            var text = new StringBuilder(string.Join('\n',
                lines.OrderBy(_ => round % 3 == 0 ? random.Next() : 0).Take(random.Next(lines.Length + 1))));
            for (var damage = random.Next(4); damage > 0 && text.Length > 0; damage--)
            {
                text[random.Next(text.Length)] = (char)random.Next(0x100);
            }

            try
            {
                UapiCodec.ParseDevice("userspace", "fab", text.ToString());
                UapiCodec.ParseErrno(text.ToString());
                parsed++;
            }
            catch (InvalidDataException)
            {
                refused++;
            }
        }

        Assert.True(parsed > 200 && refused > 1000, $"{parsed} parsed, {refused} refused");
    }
}
