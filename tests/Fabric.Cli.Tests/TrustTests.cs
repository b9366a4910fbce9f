using Fabric.Identity.Authority;
using Fabric.Identity.Trust;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Cli.Tests;

/// <summary>Evictions and rotations as an operator asks for them, against an authority on disk and gateways that are made up.</summary>
public sealed class TrustTests : IAsyncLifetime
{
    private readonly string _dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;
    private readonly List<TrustDocument> _published = [];

    /// <summary>Gateways that hear of nothing: their last report stays.</summary>
    private readonly HashSet<string> _away = [];
    private readonly Status _status = new()
    {
        Gateway = "paris-1",
        Site = "paris",
        UptimeSeconds = 200,
        Sites =
        {
            new SiteStatus { Name = "paris", Gateways = { new GatewayStatus { Name = "paris-1" } } },
            new SiteStatus { Name = "virginia", Gateways = { new GatewayStatus { Name = "virginia-1" } } },
            new SiteStatus { Name = "oslo", Gateways = { new GatewayStatus { Name = "oslo-1" } } },
        },
        Trust = new TrustStatus(),
    };
    private FakeGateway _gateway = null!;
    private string _first = "";

    public async Task InitializeAsync()
    {
        await Cli.RunAsync(["init", "--dir", _dir, "--trust-domain", "acme.example", "--site", "paris", "--site", "virginia", "--site", "oslo"], _dir, TimeProvider.System);
        _first = Convert.ToHexStringLower(MeshCa.Open(Path.Combine(_dir, "ca"), TimeProvider.System).RootFingerprint);
        _gateway = await FakeGateway.StartAsync(Path.Combine(_dir, "fabricd.sock"));
        _gateway.Says = () => _status;
        _gateway.Published = signed => Follow(TrustDocument.Of(signed));
        Report("paris-1", "paris", null);
        Report("virginia-1", "virginia", null);
        Report("oslo-1", "oslo", null);
    }

    public async Task DisposeAsync()
    {
        await _gateway.DisposeAsync();
        Directory.Delete(_dir, recursive: true);
    }

    [Fact]
    public async Task A_site_is_evicted_and_taken_back()
    {
        Assert.Equal((0, "", "virginia is evicted: its lanes are closed and it is refused everywhere (trust document 1).\n"),
            await RunAsync("site", "evict", "virginia"));
        Assert.Equal(["virginia"], _published.Single().Evicted);

        // Asked again, it is the same document.
        await RunAsync("site", "evict", "virginia");
        Assert.Equal([1ul, 1ul], _published.Select(d => d.Version));
        var (code, _, error) = await RunAsync("token", "create", "virginia/virginia-1");
        Assert.Equal((1, true), (code, error.StartsWith("fabric: virginia/virginia-1 was evicted from the mesh", StringComparison.Ordinal)));

        (code, _, error) = await RunAsync("site", "readmit", "virginia");
        Assert.Equal((0, true), (code, error.StartsWith("virginia is in the mesh again (trust document 2).", StringComparison.Ordinal)));
        Assert.Empty(_published[^1].Evicted);
        Assert.Equal((2, "", "fabric: virginia is not evicted\n  hint: nobody is\n"), await RunAsync("site", "readmit", "virginia"));
    }

    [Fact]
    public async Task A_gateway_that_was_not_heard_of_is_named_and_not_waited_for()
    {
        Away("oslo-1", secondsAgo: 200);
        var (code, _, error) = await RunAsync("gateway", "evict", "virginia/virginia-1");

        Assert.Equal(6, code);
        Assert.Matches(@"Not heard of yet; they learn it from the first gateway that they reach:\n"
            + @"  oslo/oslo-1 has version 0 of the trust document, as it said 3m \d+s ago \(", error);
    }

    [Theory]
    [InlineData("site evict virginja", "the topology has no 'virginja'", "did you mean 'virginia'?")]
    [InlineData("site evict paris", "paris is where this runs", "run it at another gateway")]
    [InlineData("gateway evict paris/paris-1", "paris/paris-1 is where this runs", "run it at another gateway")]
    [InlineData("gateway evict virginia", "'virginia' is not SITE/GATEWAY", "fabric gateway evict paris/paris-1")]
    [InlineData("site evict virginia/virginia-1", "'virginia/virginia-1' is not SITE", "fabric site evict paris")]
    public async Task What_makes_no_sense_changes_nothing(string arguments, string message, string hint)
    {
        var (code, text, error) = await RunAsync(arguments.Split(' '));

        Assert.Equal((2, ""), (code, text));
        Assert.StartsWith($"fabric: {message}", error);
        Assert.Contains(hint, error);
        Assert.Empty(_published);
        Assert.False(File.Exists(Path.Combine(_dir, "ca", "trust.bin")));
    }

    [Fact]
    public async Task Renewal_is_asked_for_and_waited_for()
    {
        Assert.Equal((0, "", "Renewed: every gateway has a new certificate.\n"), await RunAsync("trust", "renew"));
        Assert.NotNull(_published.Single().RenewBefore);

        Away("virginia-1", secondsAgo: 5);
        var (code, _, error) = await RunAsync("trust", "renew", "--limit", "500ms");
        Assert.Equal(6, code);
        Assert.Contains("not done yet:\n  virginia/virginia-1 has a certificate of ", error);
    }

    [Fact]
    public async Task A_rotation_goes_through_its_steps()
    {
        var (code, _, error) = await RunAsync("trust", "rotate");

        Assert.Equal(0, code);
        Assert.Matches($"""
            \AA new root is made: [0-9a-f]+ in .*/ca/roots/2 takes the place of {_first[..12]}\.
            1 of 3: every gateway trusts both roots\.
            2 of 3: every certificate is under the new root\.
            3 of 3: nobody trusts the old root any more\.
            Done\. Take root\.key away from .*/ca/roots/2; the key of {_first[..12]} is worth nothing now\. Join tokens from before are void\.
            \z
            """.ReplaceLineEndings("\n"), error);
        Assert.Equal([1ul, 2ul, 3ul], _published.Select(d => d.Version));
        Assert.Equal([_first], _published[^1].Withdrawn);
        Assert.False(File.Exists(Path.Combine(_dir, "ca", "rotation.json")));

        // The next one is another.
        Assert.Equal(0, (await RunAsync("trust", "rotate")).Code);
        Assert.Equal(2, _published[^1].Withdrawn.Count);
    }

    [Fact]
    public async Task A_rotation_goes_no_further_while_a_gateway_lacks_the_root_and_then_goes_on()
    {
        Away("virginia-1", secondsAgo: 65);
        var (code, _, error) = await RunAsync("trust", "rotate", "--limit", "300ms");

        Assert.Equal(6, code);
        Assert.Matches("the rotation waits at \"introduce\" and goes no further, because of:\n"
            + @"  virginia/virginia-1 does not trust the new root, as it said 1m \d+s ago \(", error);
        Assert.Contains("hint: bring them up, or evict them", error);
        Assert.Equal(2, _published.Single().Roots.Length);
        Assert.EndsWith("/ca", MeshCa.Open(Path.Combine(_dir, "ca"), TimeProvider.System).RootKeyFolder);

        // One that never said anything is no better.
        _status.Trust.Gateways.Remove(_status.Trust.Gateways.Single(g => g.Gateway == "virginia-1"));
        (code, _, error) = await RunAsync("trust", "rotate", "--limit", "300ms");
        Assert.Equal(6, code);
        Assert.Contains("virginia/virginia-1 was not heard of since paris-1 started 3m 20s ago", error);

        _away.Clear();
        (code, _, error) = await RunAsync("trust", "rotate");
        Assert.Equal(0, code);
        Assert.StartsWith("Going on with the rotation of ", error);
        Assert.Single(_published[^1].Roots);
    }

    /// <summary>As one that was kept back, and is handed on again in the place of those that came after it.</summary>
    [Fact]
    public async Task A_report_of_before_the_document_says_nothing_of_it()
    {
        _gateway.Published = signed =>
        {
            var document = TrustDocument.Of(signed);
            Follow(document);
            _status.Trust.Gateways.Single(g => g.Gateway == "virginia-1").Version = document.Version - 1;
        };
        var (code, _, error) = await RunAsync("trust", "rotate", "--limit", "300ms");

        Assert.Equal(6, code);
        Assert.Matches("the rotation waits at \"introduce\" and goes no further, because of:\n"
            + @"  virginia/virginia-1 has version 0 of the trust document, and this is version 1, as it said ", error);
        Assert.Equal(2, _published.Single().Roots.Length);
    }

    [Fact]
    public async Task Without_the_root_key_the_error_says_what_to_put_where()
    {
        File.Delete(Path.Combine(_dir, "ca", "root.key"));
        var (code, _, error) = await RunAsync("trust", "rotate");
        Assert.Equal((1, $"fabric: the old root has to introduce the new one, and root.key is not in {_dir}/ca; put it there, try again, and take it away\n"), (code, error));
        Assert.Empty(_published);

        Assert.Equal(0, (await RunAsync("site", "evict", "virginia")).Code);
    }

    [Fact]
    public async Task What_the_gateway_refuses_is_told()
    {
        _gateway.Published = _ => throw new GrpcException(GrpcStatus.FailedPrecondition, "version 1 of the trust document is not newer than 7, which holds here");
        Assert.Equal((1, "", "fabric: the gateway answered FailedPrecondition: version 1 of the trust document is not newer than 7, which holds here\n"),
            await RunAsync("site", "evict", "virginia"));
        var (code, _, error) = await RunAsync("site", "evict", "virginia", "--ca", "/nowhere");
        Assert.Equal(1, code);
        Assert.StartsWith("fabric: /nowhere holds no mesh authority", error);
    }

    [Fact]
    public async Task A_folder_that_lags_behind_its_gateway_signs_nothing()
    {
        _status.Trust.Version = 7;
        foreach (var command in new[] { "site evict virginia", "trust renew", "trust rotate" })
        {
            var (code, _, error) = await RunAsync(command.Split(' '));
            Assert.Equal((1, $"fabric: {_dir}/ca has version 0 of the trust document, and its gateway version 7\n"
                + "  hint: put trust.bin of the gateway's identity folder there, which is the same document\n"), (code, error));
        }

        Assert.False(File.Exists(Path.Combine(_dir, "ca", "trust.bin")) || Directory.Exists(Path.Combine(_dir, "ca", "roots")));
    }

    [Fact]
    public async Task Status_is_a_table_or_a_document()
    {
        await RunAsync("site", "evict", "virginia");
        var (code, text, _) = await RunAsync("trust", "status");
        Assert.Equal(0, code);
        Assert.Contains("trust document 1 of ", text);
        Assert.Contains("evicted: virginia", text);
        Assert.Matches(@"(?m)^ROOT +SUBJECT +FOR +ISSUES$", text);
        Assert.Matches($@"(?m)^{_first[..12]} +CN=Fabric root +(9d 23h|10d) +yes$", text);
        Assert.Matches($@"(?m)^paris +paris-1 +1 +(23h 59m|1d) +{_first[..12]} +- +- +{_first[..12]} +0 +\d\.\ds ago$", text);

        (code, text, _) = await RunAsync("trust", "status", "-o", "json");
        Assert.Equal((0, _status.Trust), (code, JsonParser.Default.Parse<TrustStatus>(text)));
    }

    private Task<(int Code, string Out, string Error)> RunAsync(params string[] args) => Cli.RunAsync(args, _dir, TimeProvider.System);

    private static long Now => TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();

    private void Away(string gateway, int secondsAgo)
    {
        _away.Add(gateway);
        _status.Trust.Gateways.Single(g => g.Gateway == gateway).Reported = Now - secondsAgo;
        _status.Trust.Gateways.Single(g => g.Gateway == gateway).LeafBegins = Now - 7200;
    }

    private void Follow(TrustDocument document)
    {
        _published.Add(document);
        (_status.Trust.Version, _status.Trust.Created) = (document.Version, document.Created.ToUnixTimeSeconds());
        _status.Trust.Evicted.Clear();
        _status.Trust.Evicted.Add(document.Evicted);
        Report("paris-1", "paris", document);
        Report("virginia-1", "virginia", document);
        Report("oslo-1", "oslo", document);
    }

    private void Report(string gateway, string site, TrustDocument? document)
    {
        if (_away.Contains(gateway))
        {
            return;
        }

        ByteString Bytes(string hex) => ByteString.CopyFrom(Convert.FromHexString(hex));
        var roots = document is null ? [_first] : document.Roots.Select(TrustDocument.Fingerprint).ToList();
        var known = _status.Trust.Gateways.FirstOrDefault(g => g.Gateway == gateway);
        if (known is null)
        {
            known = new GatewayTrust { Gateway = gateway, Site = site };
            _status.Trust.Gateways.Add(known);
        }

        known.Version = document?.Version ?? 0;
        known.Roots.Clear();
        known.Roots.Add(roots.Select(Bytes));
        known.LeafRoot = document?.Issuing is { Length: > 0 } issuing ? Bytes(issuing) : Bytes(_first);
        (known.LeafBegins, known.LeafExpires, known.Reported) = (Now - 300, Now + 86_400, Now);
        _status.Trust.Roots.Clear();
        _status.Trust.Roots.Add(new TrustRoot { Sha256 = Bytes(_first), Subject = "CN=Fabric root", Expires = Now + 10 * 86_400 });
    }
}
