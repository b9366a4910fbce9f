using Fabric.Gateway.Hosting;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Hosting;

public sealed class AuditShareTests
{
    [Fact]
    public async Task Allowed_streams_are_left_out_as_asked_and_denials_never()
    {
        await using var fabric = LoopbackFabric.Joined();
        await fabric.StartAsync(LoopbackFabric.Paris);
        await using var virginia = await GatewayProcess.StartAsync(
            fabric.Options(LoopbackFabric.Virginia) with { AuditShare = 0 }, TimeProvider.System, new CapturedLog(), default);
        using var admin = new AdminClient(fabric.Options(LoopbackFabric.Virginia).Socket);
        await fabric.Admin(LoopbackFabric.Paris).UntilAsync(s => s.Services[0].ChosenSite == "virginia");

        for (var i = 0; i < 5; i++)
        {
            Assert.Equal("virginia", await fabric.AnsweredByAsync());
        }

        // From an address that is no workload's.
        Assert.Null(await fabric.AnsweredByAsync("127.0.0.7"));
        var status = await admin.UntilAsync(s => s.Audit.SampledOut == 5 && s.Audit.Written > 0);
        Assert.Equal(0UL, status.Audit.Dropped);
        await Wait.UntilAsync(() => fabric.Audit(LoopbackFabric.Virginia).Count > 0, () => "the denial is written");
        Assert.All(fabric.Audit(LoopbackFabric.Virginia), l => Assert.Equal(("deny", "paris-1", "gateway"), (l["verdict"], l["assertedBy"], l["established"])));
    }
}
