using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Cli.Tests;

/// <summary>What a name resolves to, and how the reasons are told.</summary>
public sealed class DnsTests : IDisposable
{
    private readonly string _dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;

    public void Dispose() => Directory.Delete(_dir, recursive: true);

    /// <summary>The gateway's answers of these tests.</summary>
    public static ResolveNameReply Resolve(ResolveNameRequest request) => request.Name switch
    {
        "web.shop.svc.clusterset.local" => new ResolveNameReply
        {
            Rcode = "NOERROR",
            Records = { $"{request.Name}. 5 IN {request.Type} 127.64.3.9" },
            Source = "zone",
            Revision = "abc",
            AgeSeconds = 0.2,
            Service = "web.shop",
            Sites =
            {
                new ResolveSite { Site = "virginia", Usable = true, Chosen = true, Why = "2 healthy endpoints, 80 ms", Port = 80 },
                new ResolveSite { Site = "tokyo", Usable = true, Why = "1 healthy endpoint, 200 ms", Port = 80 },
                new ResolveSite { Site = "factory", Why = "no gateway connected", Port = 80 },
            },
        },
        "db.shop.virginia.site.svc.clusterset.local" => new ResolveNameReply
        {
            Rcode = "NOERROR",
            Records = { $"{request.Name}. 1 IN {request.Type} 127.64.1.1" },
            Source = "zone",
            Revision = "abc",
            Service = "db.shop",
            OnlySite = "virginia",
            Sites = { new ResolveSite { Site = "virginia", Usable = true, Chosen = true, Why = "1 of 2 healthy", Port = 5432 } },
            Hosts =
            {
                new ResolveHost { Site = "virginia", Host = "db-0", Address = "127.64.1.1", Answered = true, Why = "virginia by virginia-1" },
                new ResolveHost { Site = "virginia", Host = "db-1", Address = "127.64.1.2", Why = "none is healthy" },
            },
        },
        "www.example.org" => new ResolveNameReply
        {
            Rcode = "SERVFAIL",
            Why = "no server answers in time",
            Source = "upstream",
            Zone = ".",
            Upstream = "10.0.0.2:53",
            RttMs = 12,
            CachedSeconds = 90,
            RemainingSeconds = 30,
        },
        _ => throw new GrpcException(GrpcStatus.InvalidArgument, "DNS name \"a..b\" has an empty label"),
    };

    [Fact]
    public async Task Names_of_one_site_or_host_are_explained_as_such_with_the_hosts()
    {
        var (code, text, _) = await RunAsync("dns", "resolve", "db.shop.virginia.site.svc.clusterset.local", "--explain");
        Assert.Equal(0, code);
        Assert.EndsWith(
            """
              service: db.shop, at virginia and nowhere else
              port 5432:
                in, first: virginia (1 of 2 healthy)
              hosts, the nearest site first:
                in: db-0.virginia 127.64.1.1 (virginia by virginia-1)
                out: db-1.virginia 127.64.1.2 (none is healthy)

            """, text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Records_and_with_explain_the_sites_and_why()
    {
        var (code, text, _) = await RunAsync("dns", "resolve", "web.shop.svc.clusterset.local");
        Assert.Equal((0, "web.shop.svc.clusterset.local. 5 IN A 127.64.3.9\n"), (code, text));

        (_, text, _) = await RunAsync("dns", "resolve", "web.shop.svc.clusterset.local", "A", "--explain");
        Assert.Equal(
            """
            web.shop.svc.clusterset.local. 5 IN A 127.64.3.9
              from: the fabric's own zone
              topology: abc, state of 0.2s ago
              service: web.shop
              port 80:
                in, first: virginia (2 healthy endpoints, 80 ms)
                in: tokyo (1 healthy endpoint, 200 ms)
                out: factory (no gateway connected)

            """.ReplaceLineEndings("\n"), text);
    }

    [Fact]
    public async Task A_failure_is_told_with_its_reason_and_the_server()
    {
        var (code, text, _) = await RunAsync("dns", "resolve", "www.example.org", "--explain");
        Assert.Equal(1, code);
        Assert.StartsWith("SERVFAIL\n  because: no server answers in time\n  from: another server, asked just now\n  zone: .\n  upstream: 10.0.0.2:53, which took 12 ms", text);

        (code, text, _) = await RunAsync("dns", "resolve", "www.example.org", "-o", "json");
        Assert.Equal((1, "10.0.0.2:53"), (code, JsonParser.Default.Parse<ResolveNameReply>(text).Upstream));
    }

    [Fact]
    public async Task What_is_no_name_is_a_mistake_of_the_caller()
    {
        var (code, _, error) = await RunAsync("dns", "resolve", "a..b");
        Assert.Equal((2, "fabric: DNS name \"a..b\" has an empty label\n"), (code, error));
    }

    private async Task<(int Code, string Out, string Error)> RunAsync(params string[] args)
    {
        await using var gateway = await FakeGateway.StartAsync(Path.Combine(_dir, "fabricd.sock"));
        var (code, text, error) = await Cli.RunAsync(args, _dir, TimeProvider.System, "", false, ("NO_COLOR", "1"));
        return (code, text, error);
    }
}
