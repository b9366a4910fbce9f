using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Fabric.Identity;
using Fabric.Protocol.Tunnel;
using Fabric.Testing;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Tests;

/// <summary>TLS that fails, on whole lanes: the connection is closed with a reason, and the lanes and streams of others do not notice.</summary>
public abstract class TlsFailureTests(TunnelDriver driver) : LeakFreeTests(driver)
{
    private const string CodeSigning = "1.3.6.1.5.5.7.3.3";

    /// <summary>Said by whichever of the two ways finds out first.</summary>
    private const string WasReset = "Connection reset by peer|Broken pipe";

    private static readonly TunnelLimits _limits = new() { Grace = TimeSpan.FromMilliseconds(300) };

    /// <summary>What one client or server does, and what must be told of it.</summary>
    /// <param name="Expected">As in <see cref="AssertSays"/>.</param>
    /// <param name="Run">Is given the connection, and the name of the gateway that it plays.</param>
    private sealed record Case(string Name, string Expected, Func<SpoiltStream, string, Task> Run);

    /// <summary>Certificates in the name of the gateway that are not good.</summary>
    private (string Name, string Reason, Func<string, TestIdentity> Of)[] BadCertificates =>
    [
        ("of another trust domain", "certificate refused: not issued by the CA of test.example", name => new TestAuthority("other.example").Gateway(name)),
        ("expired", "certificate refused: not good: NotTimeValid", name => Authority.Gateway(name, until: DateTimeOffset.UtcNow.AddDays(-1))),
        ("for another purpose", "certificate refused: not good: NotValidForUsage", name => Authority.Gateway(name, purpose: CodeSigning)),
    ];

    private static string Player(int number) => Siege.Names[number % Siege.Names.Length];

    private static string Link(int number) => number < Siege.Names.Length ? "one" : "two";

    [Fact]
    public async Task A_client_that_is_nobody_or_speaks_something_else_is_refused()
    {
        var siege = await SiegeAsync(_limits);
        await FailAsync(siege,
        [
            .. BadCertificates.Select(bad => new Case(bad.Name, bad.Reason, (way, name) => KnockAsync(way, Options(bad.Of(name))))),
            new("no certificate", "a lane needs a client certificate, and none was sent", (way, name) =>
            {
                var options = Options(Authority.Gateway(name));
                options.ClientCertificateContext = null;
                return KnockAsync(way, options);
            }),
            new("another protocol", "no application protocol", (way, name) => KnockAsync(way, Options(Authority.Gateway(name), "fabric/2"))),
            new("no protocol", "asked for no protocol that is spoken here", (way, name) => KnockAsync(way, Options(Authority.Gateway(name), []))),
            new("TLS 1.2", "unsupported protocol", (way, name) =>
            {
                var options = Options(Authority.Gateway(name));
                options.EnabledSslProtocols = SslProtocols.Tls12;
                return KnockAsync(way, options);
            }),
        ]);
    }

    [Fact]
    public async Task A_client_that_breaks_off_in_the_handshake_is_told_apart()
    {
        var siege = await SiegeAsync(_limits);
        var hello = await SpoiltStream.ClientHelloAsync(Options(siege.Identity()));
        await FailAsync(siege,
        [
            new("FIN within ClientHello", "closed: ", (way, _) => BreakOffAsync(way, hello[..^10], answered: false, way.End)),
            new("FIN after ClientHello", "closed: ", (way, _) => BreakOffAsync(way, hello, answered: false, way.End)),
            new("FIN after ServerHello", "closed: ", (way, _) => BreakOffAsync(way, hello, answered: true, way.End)),
            new("reset after ServerHello", WasReset, (way, _) => BreakOffAsync(way, hello, answered: true, way.Reset)),
            new("ClientHello twice", "bad record type", (way, _) => BreakOffAsync(way, [.. hello, .. hello], answered: true, way.End)),
        ]);
    }

    [Fact]
    public async Task A_server_that_is_not_the_gateway_that_was_dialled_is_refused()
    {
        await RefuseAsync(await SiegeAsync(_limits),
        [
            .. BadCertificates.Select(bad => new Case(bad.Name, bad.Reason, (way, name) => AnswerAsync(way, Server(bad.Of(name))))),
            new("another gateway", "was expected there", (way, _) => AnswerAsync(way, Server(Authority.Gateway("beta")))),
            new("another protocol", "no application protocol", (way, name) => AnswerAsync(way, Server(Authority.Gateway(name), "fabric/2"))),
            new("no protocol", "the server does not speak fabric/1", (way, name) =>
            {
                var options = Server(Authority.Gateway(name));
                options.ApplicationProtocols = null;
                return AnswerAsync(way, options);
            }),
            new("TLS 1.2", "protocol version", (way, name) =>
            {
                var options = Server(Authority.Gateway(name));
                options.EnabledSslProtocols = SslProtocols.Tls12;
                return AnswerAsync(way, options);
            }),
            new("FIN in place of ServerHello", "", async (way, _) =>
            {
                await way.ReadAtLeastAsync(new byte[4096], 100);
                way.End();
            }),
            new("FIN within ServerHello", "", (way, name) =>
            {
                way.Spoil = bytes => bytes[..100];
                way.EndsThen = true;
                return AnswerAsync(way, Server(Authority.Gateway(name)));
            }),
            new("no TLS at all", "", async (way, _) =>
            {
                await way.ReadAtLeastAsync(new byte[4096], 100);
                await way.WriteAsync("HTTP/1.1 400 Bad Request\r\n\r\n"u8.ToArray());
            }),
        ]);
    }

    [Fact]
    public async Task A_lane_whose_records_break_off_or_are_spoilt_ends()
    {
        var siege = await SiegeAsync(_limits);
        var hello = await SpoiltStream.ClientHelloAsync(Options(siege.Identity()));
        (string, string, Func<SpoiltStream, EvilPeer, SslStream, Task>)[] cases =
        [
            ("FIN within a record", "", async (way, evil, _) =>
            {
                way.Spoil = bytes => bytes[..^100];
                await evil.SendAsync(FrameType.Data, 2, 1_000, new byte[1_000]);
                way.End();
            }),
            ("FIN without close_notify", "the peer closed the connection", (way, _, _) =>
            {
                way.End();
                return Task.CompletedTask;
            }),
            ("close_notify", "the peer closed the connection", (_, _, tls) => tls.ShutdownAsync()),
            ("a flipped bit", "bad record mac", (way, evil, _) =>
            {
                way.Spoil = bytes =>
                {
                    bytes[^1] ^= 1;
                    return bytes;
                };
                return evil.SendAsync(FrameType.Data, 2, 1_000, new byte[1_000]);
            }),
            ("a record that is sent twice", "bad record mac", (way, evil, _) =>
            {
                way.Spoil = bytes => [.. bytes, .. bytes];
                return evil.SendAsync(FrameType.Data, 2, 1_000, new byte[1_000]);
            }),
            ("a record that is left out", "bad record mac", async (way, evil, _) =>
            {
                way.Spoil = _ => [];
                await evil.SendAsync(FrameType.Data, 2, 1_000, new byte[1_000]);
                await evil.SendAsync(FrameType.Data, 2, 2_000, new byte[1_000]);
            }),
            ("a record that is too long", "length too long", (way, _, _) => way.WriteAsync((byte[])[0x17, 3, 3, 0xFF, 0xFF, .. new byte[0xFFFF]]).AsTask()),
            ("an alert in the clear", "bad record type", (way, _, _) => way.WriteAsync(new byte[] { 0x15, 3, 3, 0, 2, 2, 40 }).AsTask()),
            ("a handshake in the clear, to negotiate anew", "bad record type", (way, _, _) => way.WriteAsync(hello).AsTask()),
            ("no TLS at all", "", (way, _, _) => way.WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray()).AsTask()),
            ("reset", WasReset, (way, _, _) =>
            {
                way.Reset();
                return Task.CompletedTask;
            }),
        ];
        foreach (var (number, (name, expected, spoil)) in cases.Index())
        {
            await using var way = await SpoiltStream.DialAsync(siege.Port);
            var (peer, link) = (number % Siege.Names.Length, Link(number));
            var (tls, _) = await MutualTls.ConnectAsync(way, siege.Identity(peer), MutualTls.LaneProtocol, "beta", default);
            await using var evil = new EvilPeer(tls);
            await evil.JoinAsync(link, epoch: 2 + (uint)number);
            await evil.OpenAsync(2);
            await evil.NextAsync(FrameType.Opened);
            await evil.SendAsync(FrameType.Data, 2, 0, new byte[1_000]);

            await spoil(way, evil, tls);

            await way.ClosedAsync(tls);
            await Pair.Until(() => !siege.IsUp(peer, link) && siege.LastError(peer, link) is not null, $"the lane ends: {name}");
            Assert.NotEqual("", siege.LastError(peer, link));
            AssertSays(expected, siege.LastError(peer, link));
        }

        await siege.HonestAsync();
        await siege.NothingLeftAsync();
    }

    /// <summary>Each of them is closed, counted, and logged.</summary>
    private static async Task FailAsync(Siege siege, Case[] cases)
    {
        foreach (var (number, one) in cases.Index())
        {
            var before = siege.Refused(Refusal.HandshakeFailed);
            siege.Victim.Log.Clear();
            await using var way = await SpoiltStream.DialAsync(siege.Port);
            await one.Run(way, Player(number));
            await Pair.Until(() => siege.Refused(Refusal.HandshakeFailed) == before + 1, $"it is counted: {one.Name}");
            await Pair.Until(() => !siege.Victim.Log.IsEmpty, $"it is logged: {one.Name}");
            AssertSays(one.Expected, Assert.Single(siege.Victim.Log));
        }

        await siege.HonestAsync();
        await siege.NothingLeftAsync();
    }

    /// <summary>Alpha dials each of them as a gateway that it plays, and says why there is no lane.</summary>
    private static async Task RefuseAsync(Siege siege, Case[] cases)
    {
        var alpha = siege.Pair.Alpha;
        foreach (var (number, one) in cases.Index())
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            var (peer, link) = (Player(number), Link(number));
            alpha.Tunnel.Reconcile(siege.Pair.AlphaPlan with
            {
                Lanes = [.. siege.Pair.AlphaPlan.Lanes, new LanePlan(peer, link, (IPEndPoint)listener.LocalEndpoint)],
            });
            string? Error() => alpha.SessionWith(peer).Lanes.Single(l => l.Link == link && l.Channel == 0).LastError;
            while (Error() is null)
            {
                // Both lanes of the link are dialled, and again.
                await using var way = new SpoiltStream(await listener.AcceptSocketAsync().WaitAsync(Pair.Limit));
                await one.Run(way, peer);
            }

            Assert.NotEqual("", Error());
            AssertSays(one.Expected, Error());
            // Seen at once, that is, and not given up for the time that it took.
            Assert.DoesNotContain("of dialling", Error());
        }

        alpha.Tunnel.Reconcile(siege.Pair.AlphaPlan);
        await siege.HonestAsync();
    }

    /// <param name="expected">Words, or others for which they may stand, set apart by a bar.</param>
    /// <param name="text">In which they are.</param>
    private static void AssertSays(string expected, string? text) =>
        Assert.True(expected.Split('|').Any(words => text?.Contains(words, StringComparison.Ordinal) == true), $"'{text}' says nothing of '{expected}'");

    private static SslClientAuthenticationOptions Options(TestIdentity identity, params string[] protocols)
    {
        var options = MeshTls.Client(identity, null, protocols);
        options.RemoteCertificateValidationCallback = (_, _, _, _) => true;
        options.AllowTlsResume = false;
        return options;
    }

    private static SslClientAuthenticationOptions Options(TestIdentity identity) => Options(identity, MutualTls.LaneProtocol);

    private static SslServerAuthenticationOptions Server(TestIdentity identity, string protocol = MutualTls.LaneProtocol)
    {
        var options = MeshTls.Server(identity, anonymous: true, protocol);
        options.RemoteCertificateValidationCallback = (_, _, _, _) => true;
        return options;
    }

    /// <summary>Shakes hands as far as it goes, until the other side closes.</summary>
    private static async Task KnockAsync(SpoiltStream way, SslClientAuthenticationOptions options)
    {
        await using var tls = new SslStream(way);
        await Record.ExceptionAsync(() => tls.AuthenticateAsClientAsync(options).WaitAsync(Pair.Limit));
        await way.ClosedAsync(tls);
    }

    private static async Task BreakOffAsync(SpoiltStream way, byte[] bytes, bool answered, Action end)
    {
        await way.WriteAsync(bytes);
        if (answered)
        {
            await way.ReadAtLeastAsync(new byte[4096], 100);
        }

        end();
        await way.ClosedAsync();
    }

    private static async Task AnswerAsync(SpoiltStream way, SslServerAuthenticationOptions options)
    {
        await using var tls = new SslStream(way);
        await Record.ExceptionAsync(() => tls.AuthenticateAsServerAsync(options).WaitAsync(Pair.Limit));
        await way.ClosedAsync(tls);
    }
}

public sealed class PortableTlsFailureTests() : TlsFailureTests(TunnelDriver.Portable);

public sealed class LinuxTlsFailureTests() : TlsFailureTests(TunnelDriver.Linux);
