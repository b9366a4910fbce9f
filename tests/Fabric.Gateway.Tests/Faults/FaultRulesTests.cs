using Fabric.Gateway.Faults;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Tests.Faults;

public sealed class FaultRulesTests
{
    public static FaultSpec Cut(string id = "cut-1", string drill = "run-1") => new()
    {
        Id = id,
        Drill = drill,
        Kind = "link-blackhole",
        Link = "dx",
        DurationMs = 5_000,
    };

    [Fact]
    public void What_was_left_out_has_its_default()
    {
        var fault = FaultRules.Check(Cut());
        Assert.Equal(("both", "auto", 0u), (fault.Direction, fault.Means, fault.RenewWithinMs));
    }

    [Theory]
    [InlineData("id ''", "id", "")]
    [InlineData("id '../x'", "id", "../x")]
    [InlineData("id 'a.b'", "id", "a.b")]
    [InlineData("id '-a'", "id", "-a")]
    [InlineData("drill 'a b'", "drill", "a b")]
    [InlineData("kind 'explode'", "kind", "explode")]
    [InlineData("direction 'up'", "direction", "up")]
    [InlineData("means 'magic'", "means", "magic")]
    [InlineData("link ''", "link", "")]
    [InlineData("service 'web.shop'", "service", "web.shop")]
    [InlineData("duration_ms '999'", "duration_ms", 999u)]
    [InlineData("duration_ms '3600001'", "duration_ms", 3_600_001u)]
    [InlineData("renew_within_ms '100'", "renew_within_ms", 100u)]
    [InlineData("delay_ms '5'", "delay_ms", 5u)]
    [InlineData("jitter_ms '5'", "jitter_ms", 5u)]
    [InlineData("loss_percent '1'", "loss_percent", 1.0)]
    [InlineData("bits_per_second '1'", "bits_per_second", 1ul)]
    [InlineData("down_ms '1'", "down_ms", 1u)]
    [InlineData("up_ms '1'", "up_ms", 1u)]
    public void What_does_not_fit_is_refused_with_the_value(string said, string field, object value)
    {
        var fault = Cut();
        var described = FaultSpec.Descriptor.FindFieldByName(field);
        described.Accessor.SetValue(fault, value);
        var refused = Assert.Throws<GrpcException>(() => FaultRules.Check(fault));
        Assert.Equal(GrpcStatus.InvalidArgument, refused.Status);
        Assert.StartsWith(said, refused.Detail, StringComparison.Ordinal);
        Assert.Contains("hint: ", refused.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("link-down", "direction", "in")]
    [InlineData("flap", "direction", "out")]
    [InlineData("loss", "loss_percent", 101.0)]
    [InlineData("loss", "loss_percent", double.NaN)]
    [InlineData("loss", "loss_percent", -1.0)]
    [InlineData("bandwidth", "bits_per_second", 7_999ul)]
    [InlineData("delay", "delay_ms", 0u)]
    [InlineData("delay", "delay_ms", 10_001u)]
    [InlineData("flap", "down_ms", 99u)]
    [InlineData("site-isolate", "link", "dx")]
    [InlineData("gateway-kill", "peer", "virginia-1")]
    [InlineData("service-down", "service", "")]
    public void What_a_kind_needs_and_what_it_has_no_use_for(string kind, string field, object value)
    {
        var fault = Good(kind);
        FaultRules.Check(fault);
        FaultSpec.Descriptor.FindFieldByName(field).Accessor.SetValue(fault, value);
        Assert.Equal(GrpcStatus.InvalidArgument, Assert.Throws<GrpcException>(() => FaultRules.Check(fault)).Status);
    }

    [Fact]
    public void Every_kind_has_a_form_that_is_accepted() => Assert.All(FaultKind.All, kind => FaultRules.Check(Good(kind)));

    [Theory]
    [InlineData("gateway-kill", 0u, 5_000)]
    [InlineData("gateway-kill", 1_000u, 1_000)]
    [InlineData("gateway-pause", 1_000u, 1_000)]
    [InlineData("gateway-pause", 9_000u, 5_000)]
    [InlineData("flap", 1_000u, 5_000)]
    public void What_hears_no_renewal_lasts_no_longer_than_it_may_without_one(string kind, uint renewWithinMs, int longestMs)
    {
        var fault = Good(kind);
        (fault.DurationMs, fault.RenewWithinMs) = (5_000, renewWithinMs);
        var checkedFault = FaultRules.Check(fault);
        Assert.Equal(renewWithinMs, checkedFault.RenewWithinMs);
        Assert.Equal(TimeSpan.FromMilliseconds(longestMs), FaultRules.Longest(checkedFault));
    }

    [Fact]
    public void Nothing_is_no_fault() => Assert.Equal(GrpcStatus.InvalidArgument, Assert.Throws<GrpcException>(() => FaultRules.Check(null)).Status);

    private static FaultSpec Good(string kind) => new()
    {
        Id = "a",
        Drill = "b",
        Kind = kind,
        DurationMs = 1_000,
        Link = FaultKind.IsOfLink(kind) ? "dx" : "",
        Service = FaultKind.IsOfService(kind) ? "web.shop" : "",
        DelayMs = kind == "delay" ? 50u : 0,
        LossPercent = kind == "loss" ? 5 : 0,
        BitsPerSecond = kind == "bandwidth" ? 1_000_000ul : 0,
        DownMs = kind == "flap" ? 200u : 0,
        UpMs = kind == "flap" ? 200u : 0,
    };
}
