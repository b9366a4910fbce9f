using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>The host of a headless service stands before the service's name in an OPEN.</summary>
public class OpenNameTests
{
    [Theory]
    [InlineData("web.shop", 80, "web.shop", null)]
    [InlineData("db-0.db.shop", 80, "db.shop", "db-0")]
    [InlineData("db-0.db.shop", 0, "db-0.db.shop", null)]
    [InlineData("fabric.control", 0, "fabric.control", null)]
    [InlineData("fabric.relay/a.b", 0, "fabric.relay/a.b", null)]
    [InlineData("web", 80, "web", null)]
    [InlineData("", 80, "", null)]
    [InlineData("..", 80, "..", null)]
    [InlineData(".db.shop", 80, ".db.shop", null)]
    [InlineData("db-0..shop", 80, "db-0..shop", null)]
    [InlineData("db-0.db.", 80, "db-0.db.", null)]
    [InlineData("a.b.c.d", 80, "a.b.c.d", null)]
    [InlineData("A B.db.shop", 80, "db.shop", "A B")]
    public void What_is_asked_for_is_read_back(string wire, int port, string service, string? host)
    {
        var open = StreamCore.ToRequest(new OpenFrame(wire, port, "caller", ""));
        Assert.Equal((service, host, wire), (open.Service, open.Host, open.WireService));
    }
}
