using System.Diagnostics;
using System.Net;
using Fabric.Gateway.Tests.Dns;
using Fabric.Gateway.Tests.Dns.Forwarding;
using Fabric.Protocol.Dns;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>A whole gateway looks up names of others as its topology says, and explains what it answers.</summary>
public sealed class ForwardingOfGatewayTests
{
    [Fact]
    public async Task Names_of_others_are_looked_up_as_the_topology_says_and_explained()
    {
        await using var first = new FakeUpstream((q, _) => FakeUpstream.Address(q, "192.0.2.1"));
        await using var second = new FakeUpstream((q, _) => FakeUpstream.Address(q, "192.0.2.2"));
        await using var fabric = Joined();
        string Forward(IPEndPoint server, string more = "") => fabric.Topology($"dns: {{ forward: {{ servers: [ \"{server}\" ]{more} }} }}\n");
        fabric.Write(Forward(first.EndPoint));
        await fabric.StartAsync(Paris);
        var admin = fabric.Admin(Paris);
        var dns = Samples.Accept(Forward(first.EndPoint)).Gateway(Paris).Dns;
        Assert.Equal("192.0.2.1", await AddressAsync(dns));

        var unused = Assert.Single((await admin.StatusAsync()).DnsUpstreams);
        Assert.Equal((".", first.EndPoint.ToString(), "up"), (unused.Zone, unused.Server, unused.State));
        var reply = await ResolveAsync(admin, "www.example.org");
        Assert.Equal(("NOERROR", "cache", ".", first.EndPoint.ToString()), (reply.Rcode, reply.Source, reply.Zone, reply.Upstream));
        Assert.InRange(reply.RemainingSeconds, 200, 300);
        Assert.Matches("^www\\.example\\.org\\. \\d+ IN A 192\\.0\\.2\\.1$", reply.Records.Single());
        Assert.Equal("upstream", (await ResolveAsync(admin, "mail.example.org")).Source);

        using var http = new HttpClient();
        var metrics = await http.GetStringAsync($"http://{Samples.Accept(Forward(first.EndPoint)).Gateway(Paris).Metrics}/metrics");
        Assert.Contains("\nfabric_dns_forwarded_total 2\n", metrics);
        Assert.Contains($"fabric_dns_upstream_up{{zone=\".\",server=\"{first.EndPoint}\"}} 1\n", metrics);
        Assert.DoesNotContain("example.org", metrics);

        // The fabric's own: which sites there are, and why each is in or out. No other gateway runs.
        var own = await ResolveAsync(admin, "web.shop.svc.clusterset.local");
        Assert.Equal(("zone", "web.shop", "NOERROR"), (own.Source, own.Service, own.Rcode));
        Assert.Equal(["virginia", "factory"], own.Sites.Select(s => s.Site));
        Assert.All(own.Sites, s => Assert.True(!s.Usable && !s.Chosen && s.Why.Length > 0));
        Assert.Contains("no site can serve web.shop", own.Why);
        Assert.Equal((await admin.StatusAsync()).TopologyRevision, own.Revision);
        foreach (var request in new[] { new ResolveNameRequest { Name = "a..b" }, new ResolveNameRequest { Name = "a.b", Type = "AAAAA" } })
        {
            var refused = await Assert.ThrowsAsync<GrpcException>(() => admin.CallAsync(AdminMethods.ResolveName, request));
            Assert.Equal(GrpcStatus.InvalidArgument, refused.Status);
        }

        // Another server from now on, and no answer of the one before.
        fabric.Write(Forward(second.EndPoint));
        await admin.ReloadAsync();
        Assert.Equal("192.0.2.2", await AddressAsync(dns));
        // When it is gone the status says so.
        await second.DisposeAsync();
        var problem = $"DNS: no server for names of others answers: {second.EndPoint}: ";
        for (var since = Stopwatch.StartNew();
            !(await admin.StatusAsync()).Problems.Any(p => p.StartsWith(problem, StringComparison.Ordinal));
            await ResolveAsync(admin, $"{Guid.NewGuid()}.example.org"))
        {
            Assert.True(since.Elapsed < Wait.Limit, "no problem is told");
        }

        // Not for strangers: we are on loopback.
        fabric.Write(Forward(second.EndPoint, ", clients: [ 192.0.2.0/24 ]"));
        await admin.ReloadAsync();
        Assert.Equal("Refused", await AddressAsync(dns));
        fabric.Write(fabric.Topology("dns: { forward: { servers: [] } }\n"));
        await admin.ReloadAsync();
        Assert.Equal("Refused", await AddressAsync(dns));
        Assert.Equal("none", (await ResolveAsync(admin, "www.example.org")).Source);
        Assert.Empty((await admin.StatusAsync()).DnsUpstreams);
    }

    private static Task<ResolveNameReply> ResolveAsync(AdminClient admin, string name) =>
        admin.CallAsync(AdminMethods.ResolveName, new ResolveNameRequest { Name = name });

    private static async Task<string> AddressAsync(IPEndPoint dns)
    {
        var answer = await ForwardingServer.AskAsync(dns, Query("www.example.org", DnsType.A));
        return answer.Answers is [{ Data: DnsAddress address }] ? address.Address.ToString() : answer.Rcode.ToString();
    }
}
