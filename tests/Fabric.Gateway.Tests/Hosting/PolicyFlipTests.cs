using System.Net;
using System.Net.Sockets;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// Policies that change all the time under load. Both versions allow one service and deny the other, each by rules of its own: whoever is
/// decided by a part of one and a part of the other finds no rule that allows the first, or none that denies the second.
/// </summary>
public sealed class PolicyFlipTests
{
    private const int Flips = 100;
    private const int Clients = 4;

    private static string Version(LoopbackFabric fabric, int version, string more) => fabric.Topology(more).Replace(
        """  - { name: shop-may, action: allow, from: [ site/paris/workload/shop ], to: [ "*.shop" ] }""",
        version % 2 == 0
            ? """
                - { name: open-even, action: allow, from: [ site/paris/workload/shop ], to: [ web.shop ] }
                - { name: all-even, action: allow, from: [ "site/paris/*" ], to: [ vault.shop ] }
                - { name: shut-even, action: deny, from: [ "site/paris/*" ], to: [ vault.shop ] }
              """
            : """
                - { name: all-odd, action: allow, from: [ "site/*" ], to: [ "*.shop" ] }
                - { name: shut-odd, action: deny, from: [ site/paris/workload/shop ], to: [ vault.shop ] }
              """, StringComparison.Ordinal);

    [Fact]
    public async Task Nobody_is_decided_by_a_mixture_of_two_versions_of_the_policies()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var vault = $$"""
              - name: vault
                namespace: shop
                ports: [ { port: {{FreePorts.Take(1)[0]}} } ]
                health: { type: none }
                exports: [ { site: virginia, endpoints: [ "127.0.0.1:{{fabric.InVirginia.Port}}" ] } ]

            """;
        var versions = new[] { Version(fabric, 0, vault), Version(fabric, 1, vault) };
        Assert.NotEqual(versions[0], versions[1]);
        fabric.Write(versions[0]);
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            await fabric.Admin(gateway).ReloadAsync();
        }

        var status = await fabric.Admin(Paris).UntilAsync(s => s.Services.Any(v => v is { Name: "vault.shop", ChosenSite: "virginia" })
            && s.Listeners.Any(l => l.Name == "vault.shop" && l.Open));
        IPEndPoint Address(string service) => status.Services.Single(s => s.Name == service) is var found
            ? new IPEndPoint(IPAddress.Parse(found.ServiceAddress), (int)found.Ports[0]) : default!;

        using var live = await fabric.CallAsync();
        Assert.Equal("virginia", await live.ReadLineAsync());
        using var enough = new CancellationTokenSource();
        var open = Enumerable.Range(0, Clients).Select(_ => Task.Run(() => CountAsync(Address("web.shop"), "virginia", enough.Token))).ToArray();
        var shut = Enumerable.Range(0, Clients).Select(_ => Task.Run(() => CountAsync(Address("vault.shop"), null, enough.Token))).ToArray();
        for (var flip = 1; flip <= Flips; flip++)
        {
            fabric.Write(versions[flip % 2]);
            await fabric.Admin(Virginia).ReloadAsync();
            Assert.Equal($"flip {flip}", await live.EchoAsync($"flip {flip}"));
        }

        await enough.CancelAsync();
        Assert.All(await Task.WhenAll([.. open, .. shut]), count => Assert.NotEqual(0, count));
        await Wait.UntilAsync(() => Rules(fabric).Contains("shut-odd") && Rules(fabric).Contains("shut-even"), () => "both versions decided");
        Assert.Subset(new HashSet<string?> { "open-even", "all-odd", "shut-even", "shut-odd" }, Rules(fabric));
    }

    /// <summary>Rules of all lines in which one decided.</summary>
    private static HashSet<string?> Rules(LoopbackFabric fabric) =>
        [.. fabric.Audit(Virginia).Select(e => e.GetValueOrDefault("rule")).Where(r => r is not null)];

    /// <summary>Connects anew until told otherwise, and finds the same each time: that answer, or null for a reset. Returns how often.</summary>
    private static async Task<int> CountAsync(IPEndPoint address, string? expected, CancellationToken enough)
    {
        var count = 0;
        for (; !enough.IsCancellationRequested; count++)
        {
            string? answer = null;
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(address).WaitAsync(Wait.Limit, CancellationToken.None);
                using var reader = new StreamReader(client.GetStream());
                answer = await reader.ReadLineAsync(CancellationToken.None).AsTask().WaitAsync(Wait.Limit, CancellationToken.None);
            }
            catch (Exception e) when (e is IOException or SocketException)
            {
                // Refused.
            }

            Assert.Equal(expected, answer);
        }

        return count;
    }
}
