using Fabric.Gateway.Telemetry;
using Fabric.Testing;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests.Telemetry;

public sealed class AuditSieveTests
{
    private readonly ManualTime _time = new();

    [Fact]
    public void Lines_of_a_stream_and_of_a_trace_are_all_kept_or_none()
    {
        // Two gateways with the same share, each with its own copy of the stream.
        var (here, there) = (new AuditSieve(0.25, _time), new AuditSieve(0.25, _time));
        var kept = 0;
        var random = new Random(1);
        for (var i = 0; i < 10_000; i++)
        {
            var trace = $"00-{random.NextInt64():x16}{random.NextInt64():x16}-{i + 1:x16}-01";
            var first = here.Keeps(Allowed(new StreamOpen("web.shop", 80, "c", trace)));
            Assert.Equal(first, there.Keeps(Allowed(new StreamOpen("web.shop", 80, "c", trace))));
            kept += first ? 1 : 0;

            var untraced = new StreamOpen("web.shop", 80, "c");
            Assert.Equal(here.Keeps(Allowed(untraced)), here.Keeps(Allowed(untraced)));
        }

        Assert.InRange(kept, 2_300, 2_700);
        Assert.InRange(here.SampledOut, 10_000 * 3 * 0.7, 10_000 * 3 * 0.8);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 1_000)]
    public void All_or_nothing_is_exact(double share, int kept)
    {
        var sieve = new AuditSieve(share, _time);
        Assert.Equal(kept, Enumerable.Range(0, 1_000).Count(i => sieve.Keeps(Allowed(new StreamOpen("web.shop", 80, "c", i % 2 == 0 ? "" : "not a trace")))));
        Assert.Equal(1_000 - kept, sieve.SampledOut);
    }

    [Fact]
    public void Denials_are_kept_whatever_the_share_and_no_gateway_crowds_out_another()
    {
        var sieve = new AuditSieve(0, _time);
        Assert.Equal(AuditSieve.Denials.AtOnce, Enumerable.Range(0, 10_000).Count(_ => sieve.Keeps(Denied("factory-1"))));
        Assert.Equal(10_000 - AuditSieve.Denials.AtOnce, sieve.Limited);
        Assert.True(sieve.Keeps(Denied("virginia-1")));
        Assert.True(sieve.Keeps(Denied("self")));
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(AuditSieve.Denials.PerSecond, Enumerable.Range(0, 10_000).Count(_ => sieve.Keeps(Denied("factory-1"))));
    }

    private static AuditEntry Allowed(StreamOpen open) => Entry("virginia-1") with { Draw = AuditSieve.DrawOf(open) };

    private static AuditEntry Denied(string by) => Entry(by) with { Verdict = "deny", IsDenial = true };

    private static AuditEntry Entry(string by) => new()
    {
        Time = DateTimeOffset.UnixEpoch,
        Verdict = "allow",
        Caller = "c",
        AssertedBy = by,
        Established = "gateway",
        Service = "web.shop:80",
        Reason = "",
    };
}
