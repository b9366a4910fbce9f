using System.Collections.Immutable;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Fabric.Identity;
using Fabric.Identity.Svid;
using Fabric.Tunnel.Drivers;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// Every credential of <see cref="Credentials"/>, shown over TLS on a socket to a gateway with a real identity: by a client at its port,
/// and by a server that it dials. It must accept or refuse, and tell why by code and by words, in its log and in its status.
/// </summary>
public abstract class CredentialTests(CredentialMesh mesh, TunnelDriver driver) : IClassFixture<CredentialMesh>
{
    private const string Link = "one";

    private static readonly ImmutableDictionary<string, string> _anySite = ImmutableDictionary<string, string>.Empty;

    /// <summary>What is refused here is never refused for taking its time.</summary>
    private static readonly TunnelLimits _limits = new() { HandshakeTimeout = Pair.Limit };

    public static TheoryData<string> Good => NamesOf(Credentials.Good);

    public static TheoryData<string> Bad => NamesOf(Credentials.Bad);

    [Theory]
    [MemberData(nameof(Bad))]
    public async Task A_client_with_it_is_refused(string name)
    {
        var credential = Credentials.Bad.Single(c => c.Name == name);
        await using var beta = Beta();
        await KnockAsync(beta, Client(credential.Make(mesh).Show()));

        await Pair.Until(() => !beta.Log.IsEmpty, "it is logged");
        var line = Assert.Single(beta.Log);
        Assert.Equal(1, beta.Tunnel.Usage.Refusals.Single(r => r.Kind == Refusal.HandshakeFailed).Count);
        Assert.Null(beta.SessionWith("alpha").ActiveLink);
        if (driver == TunnelDriver.Portable && credential.PlatformSays is { } words && line.Contains(words, StringComparison.Ordinal))
        {
            // SslStream failed on its own, before it asked anybody: refused all the same, in its words and without a code.
            return;
        }

        AssertTold(credential, line);
        Assert.Equal([(credential.Code!, 1L)], Counts(beta));
    }

    [Theory]
    [MemberData(nameof(Bad))]
    public async Task A_server_with_it_is_refused(string name)
    {
        var credential = Credentials.Bad.Single(c => c.Name == name);
        await using var beta = Beta();
        AssertTold(credential, await RefuseAsync(beta, "alpha", credential.Make(mesh).Show()));

        var (code, count) = Assert.Single(Counts(beta));
        Assert.True(code == credential.Code && count > 0, $"{count} {code}");
        AssertTold(credential, Assert.Single(beta.Log));
        Assert.StartsWith("lane to alpha over one: ", Assert.Single(beta.Log));
    }

    [Theory]
    [MemberData(nameof(Good))]
    public async Task A_client_with_it_gets_a_lane(string name)
    {
        await using var beta = Beta();
        await using var way = await SpoiltStream.DialAsync(beta.Address("gateway port"));
        var (tls, _) = await MutualTls.ConnectAsync(way, Player(Credentials.Good, name), MutualTls.LaneProtocol, "beta", default);
        await using var alpha = new EvilPeer(tls);
        await alpha.JoinAsync(Link);

        await Pair.Until(() => Lane(beta).State == LaneState.Up, "the lane is up");
        Assert.Empty(Counts(beta));
        Assert.Empty(beta.Log);
    }

    [Theory]
    [MemberData(nameof(Good))]
    public async Task A_server_with_it_is_told_hello(string name)
    {
        await using var beta = Beta();
        using var listener = Listen(beta, "alpha");
        using var socket = await listener.AcceptSocketAsync().WaitAsync(Pair.Limit);
        await using var way = new NetworkStream(socket);
        var (tls, peer) = await MutualTls.AcceptAsync(way, Player(Credentials.Good, name), [MutualTls.LaneProtocol], default).WaitAsync(Pair.Limit);
        await using (tls)
        {
            Assert.Equal(CredentialMesh.BetaId, peer);
            Assert.NotEqual(0, await tls.ReadAsync(new byte[100]).AsTask().WaitAsync(Pair.Limit));
            Assert.Empty(Counts(beta));
        }
    }

    [Fact]
    public async Task A_lane_without_a_certificate_is_refused()
    {
        await using var beta = Beta();
        await KnockAsync(beta, Client(null));
        await Pair.Until(() => !beta.Log.IsEmpty, "it is logged");
        Assert.EndsWith("a lane needs a client certificate, and none was sent [no_certificate]", Assert.Single(beta.Log));
        Assert.Equal([("no_certificate", 1L)], Counts(beta));
    }

    [Fact]
    public async Task A_good_server_that_is_another_gateway_than_was_dialled_is_refused()
    {
        await using var beta = Beta();
        Assert.EndsWith("gateway gamma was expected there [wrong_gateway]", await RefuseAsync(beta, "gamma", mesh.Leaf().Show()));
        Assert.Equal("wrong_gateway", Assert.Single(Counts(beta)).Code);
    }

    /// <summary>The authority of one site signs what it likes for its own site: also with the name of a gateway that another site has.</summary>
    [Fact]
    public async Task A_site_cannot_take_the_name_of_another_sites_gateway()
    {
        const string Says = "the certificate is that of spiffe://test.example/site/oslo/gateway/alpha: gateway alpha is of site paris [wrong_gateway]";
        var sites = ImmutableDictionary<string, string>.Empty.Add("alpha", "paris").Add("beta", "virginia");
        var taken = mesh.Leaf(d => d.Set(Draft.Names(true, (Draft.Uri, $"spiffe://{CredentialMesh.Domain}/site/oslo/gateway/alpha"))), mesh.Site("oslo"));
        await using var beta = Beta(sites);
        await KnockAsync(beta, Client(taken.Show()));
        await Pair.Until(() => !beta.Log.IsEmpty, "it is logged");
        Assert.EndsWith(Says, Assert.Single(beta.Log));
        Assert.Equal([("wrong_gateway", 1L)], Counts(beta));

        Assert.EndsWith(Says, await RefuseAsync(beta, "alpha", taken.Show(), sites));
        Assert.Null(beta.SessionWith("alpha").ActiveLink);
    }

    [Fact]
    public async Task A_gateway_that_the_plan_gives_another_site_loses_its_lanes()
    {
        var sites = ImmutableDictionary<string, string>.Empty.Add("alpha", "paris");
        await using var beta = Beta(sites);
        await using var way = await SpoiltStream.DialAsync(beta.Address("gateway port"));
        var (tls, _) = await MutualTls.ConnectAsync(way, new Impostor(mesh.Leaf().Show()), MutualTls.LaneProtocol, "beta", default);
        await using var alpha = new EvilPeer(tls);
        await alpha.JoinAsync(Link);
        await Pair.Until(() => Lane(beta).State == LaneState.Up, "the lane is up");

        beta.Tunnel.Reconcile(Plan(sites.SetItem("alpha", "oslo")));
        await Pair.Until(() => Lane(beta).State == LaneState.Down, "the lane is gone");
        await KnockAsync(beta, Client(mesh.Leaf().Show()));
        await Pair.Until(() => Counts(beta) is [("wrong_gateway", 1L)], "nor does it get another");
    }

    /// <summary>
    /// A client that keeps sessions is judged anew each time: first with what is good, then with what is not, at the name of the first.
    /// </summary>
    [Fact]
    public async Task What_was_accepted_once_is_not_resumed()
    {
        await using var beta = Beta();
        var good = Client(mesh.Leaf().Show());
        good.AllowTlsResume = true;
        for (var i = 0; i < 4; i++)
        {
            await using var way = await SpoiltStream.DialAsync(beta.Address("gateway port"));
            await using var tls = new SslStream(way);
            await tls.AuthenticateAsClientAsync(good).WaitAsync(Pair.Limit);
            await using var alpha = new EvilPeer(tls);
            await alpha.JoinAsync(Link, epoch: 2 + (uint)i);
        }

        Assert.Empty(Counts(beta));
        var bad = Client(Credentials.Bad.Single(c => c.Name == "expired").Make(mesh).Show());
        bad.AllowTlsResume = true;
        await KnockAsync(beta, bad);
        await Pair.Until(() => Counts(beta) is [("expired", 1L)], "it is refused");
        var nobody = Client(null);
        nobody.AllowTlsResume = true;
        await KnockAsync(beta, nobody);
        await Pair.Until(() => Counts(beta) is [("expired", 1L), ("no_certificate", 1L)], "and so is nobody");
    }

    [Fact]
    public void The_table_has_every_code()
    {
        var codes = Enum.GetValues<SvidRejection>().Except([SvidRejection.None, SvidRejection.NoCertificate, SvidRejection.WrongGateway, SvidRejection.RootWithdrawn,
            SvidRejection.NotAWorkload, SvidRejection.WorkloadOfAnotherSite]);
        Assert.Equal(codes.Select(SvidVerdict.CodeOf).Order(), Credentials.Bad.Select(c => c.Code!).Distinct().Order());
        Assert.InRange(Credentials.Bad.Count, 40, 200);
    }

    private static TheoryData<string> NamesOf(IEnumerable<Credential> table)
    {
        var names = new TheoryData<string>();
        foreach (var credential in table)
        {
            names.Add(credential.Name);
        }

        return names;
    }

    private TestGateway Beta(ImmutableDictionary<string, string>? sites = null)
    {
        var beta = new TestGateway(mesh.Beta, driver, _limits);
        beta.Tunnel.Reconcile(Plan(sites ?? _anySite));
        return beta;
    }

    private static TunnelPlan Plan(ImmutableDictionary<string, string> sites) =>
        new() { Listen = [Pair.AnyPort], Lanes = [new LanePlan("alpha", Link, null)], Sites = sites };

    private static LaneStatus Lane(TestGateway beta, string peer = "alpha") =>
        beta.SessionWith(peer).Lanes.Single(l => l.Link == Link && l.Channel == 0);

    private static (string Code, long Count)[] Counts(TestGateway beta) =>
        [.. beta.Tunnel.Usage.Certificates.Where(c => c.Count > 0).Select(c => (c.Code, c.Count))];

    private Impostor Player(IEnumerable<Credential> table, string name) => new(table.Single(c => c.Name == name).Make(mesh).Show());

    private static void AssertTold(Credential credential, string line) => Assert.True(
        line.Contains(credential.Says, StringComparison.Ordinal) && line.EndsWith($" [{credential.Code}]", StringComparison.Ordinal), line);

    private static SslClientAuthenticationOptions Client(SslStreamCertificateContext? shown) => new()
    {
        TargetHost = "fabric",
        ClientCertificateContext = shown,
        EnabledSslProtocols = SslProtocols.Tls13,
        AllowTlsResume = false,
        ApplicationProtocols = [new SslApplicationProtocol(MutualTls.LaneProtocol)],
        RemoteCertificateValidationCallback = (_, _, _, _) => true,
    };

    /// <summary>Shakes hands as far as it goes, until the gateway closes.</summary>
    private static async Task KnockAsync(TestGateway beta, SslClientAuthenticationOptions options)
    {
        await using var way = await SpoiltStream.DialAsync(beta.Address("gateway port"));
        await using var tls = new SslStream(way);
        await Record.ExceptionAsync(() => tls.AuthenticateAsClientAsync(options).WaitAsync(Pair.Limit));
        await way.ClosedAsync(tls);
    }

    /// <summary>A place that the gateway dials as that of a peer.</summary>
    private static TcpListener Listen(TestGateway beta, string peer, ImmutableDictionary<string, string>? sites = null)
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        beta.Tunnel.Reconcile(new TunnelPlan { Lanes = [new LanePlan(peer, Link, (IPEndPoint)listener.LocalEndpoint)], Sites = sites ?? _anySite });
        return listener;
    }

    /// <summary>Answers both lanes of the link, again and again, until the gateway has said what is wrong: returned.</summary>
    private static async Task<string> RefuseAsync(
        TestGateway beta, string peer, SslStreamCertificateContext shown, ImmutableDictionary<string, string>? sites = null)
    {
        using var listener = Listen(beta, peer, sites);
        while (true)
        {
            // As long as somebody listens, no later dial says something else.
            if (Lane(beta, peer).LastError is { } error)
            {
                return error;
            }

            await using var way = new SpoiltStream(await listener.AcceptSocketAsync().WaitAsync(Pair.Limit));
            await using var tls = new SslStream(way);
            var options = new SslServerAuthenticationOptions
            {
                ServerCertificateContext = shown,
                ClientCertificateRequired = true,
                EnabledSslProtocols = SslProtocols.Tls13,
                ApplicationProtocols = [new SslApplicationProtocol(MutualTls.LaneProtocol)],
                RemoteCertificateValidationCallback = (_, _, _, _) => true,
            };
            await Record.ExceptionAsync(() => tls.AuthenticateAsServerAsync(options).WaitAsync(Pair.Limit));
            await way.ClosedAsync(tls);
        }
    }
}

public sealed class PlannedIdentityTests
{
    /// <summary>What it stands in front of answers: a member with a default of its own would be answered by that, and not by the identity.</summary>
    [Fact]
    public void It_passes_on_every_question_that_an_identity_is_asked() => Assert.All(
        typeof(PlannedIdentity).GetInterfaceMap(typeof(IGatewayIdentity)).TargetMethods, m => Assert.Equal(typeof(PlannedIdentity), m.DeclaringType));
}

public sealed class PortableCredentialTests(CredentialMesh mesh) : CredentialTests(mesh, TunnelDriver.Portable);

public sealed class LinuxCredentialTests(CredentialMesh mesh) : CredentialTests(mesh, TunnelDriver.Linux);
