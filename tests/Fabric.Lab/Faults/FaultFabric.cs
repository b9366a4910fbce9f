using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Lab.Faults;

/// <summary>One fabric for all tests of faults, started by the first that runs; paris may ask for faults at the others.</summary>
public sealed class FaultFabric : IAsyncLifetime
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private LabFabric? _fabric;

    public LabFabric Lab => _fabric!;

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        if (_fabric is not null)
        {
            await _fabric.DisposeAsync();
        }
    }

    /// <summary>Started, with every gateway up, every lane too, and no fault in force.</summary>
    public async Task<LabFabric> Ready()
    {
        if (_fabric is null)
        {
            var fabric = await LabFabric.Build("namespaces");
            try
            {
                await fabric.Init();
                await File.WriteAllTextAsync(Path.Combine(fabric.Paris.TopologyFolder, "drills.yaml"), """
                    fabric: 1
                    drills: { from: [ paris ] }

                    # Idle links as well show at once whether they are whole.
                    probes: { idle: 50ms }

                    # Who calls in virginia itself, next to the endpoint.
                    workloads: [ { name: till, site: virginia, addresses: [ 10.20.0.1/32 ] } ]
                    policies: [ { name: till-calls-web, action: allow, from: [ site/virginia/workload/till ], to: [ web.shop ] } ]

                    """);
                await fabric.StartWorkloads(1 << 20);
                await fabric.Join();
                await LinkTraffic.Count(fabric);
            }
            catch
            {
                await fabric.DisposeAsync();
                throw;
            }

            _fabric = fabric;
        }

        foreach (var gateway in Lab.Gateways)
        {
            if (!gateway.IsAlive)
            {
                gateway.Start();
            }

            await gateway.Ready(Limit);

            // Of a test that failed.
            await gateway.Call(FaultsMethods.Revert, new DrillFaultsRequest());
        }

        foreach (var gateway in Lab.Gateways)
        {
            // A fault that breaks the one lane there is yet would break what is asked over it.
            await gateway.Until("sessions with all lanes", TimeSpan.FromSeconds(75), s => s.Links.All(l => l.Lane == "up")
                && s.Sites.SelectMany(x => x.Gateways).All(g => g.State is "self" or "connected"));
        }

        return Lab;
    }

    public GatewayProcess Gateway(string name) => Lab.Gateways.Single(g => g.Name == name);

    /// <summary>Asked at the gateway of the case, which is another than the target's where it can be.</summary>
    public Task<FaultList> Apply(FaultCase one, FaultSpec fault) =>
        Gateway(one.Asked).Call(FaultsMethods.Apply, new ApplyFaultRequest { Gateway = one.Target, Fault = fault });

    /// <summary>What the target says of that fault, on its own socket; null: nothing.</summary>
    public async Task<FaultState?> State(FaultCase one, string id) =>
        (await Gateway(one.Target).Call(FaultsMethods.List, new ListFaultsRequest())).Faults.FirstOrDefault(f => f.Fault.Id == id);

    /// <summary>Leases on the target's disk.</summary>
    public string[] Leases(FaultCase one) => Path.Combine(Gateway(one.Target).State, "faults") is var folder && Directory.Exists(folder)
        ? Directory.GetFiles(folder, "*.json") : [];

    /// <summary>What faults left in the target's part of the kernel, by the names that they give it.</summary>
    public async Task<string> LeftInKernel(FaultCase one)
    {
        var site = Lab.Network.Sites.Single(s => $"{s.Name}-1" == one.Target);
        async Task<string> Said(params string[] argv) => (await Command.Run(Lab.Network.Inside(site, argv))).Checked().Output;
        var left = (await Said("nft", "list", "tables")).Split('\n').Where(l => l.Contains("fabric-drill", StringComparison.Ordinal))
            .Concat((await Said("tc", "qdisc", "show")).Split('\n').Where(l => l.Contains(" fab:", StringComparison.Ordinal)))
            .Concat((await Said("ip", "rule")).Split('\n').Where(l => l.StartsWith("77:", StringComparison.Ordinal)))
            .Concat((await Said("ip", "-br", "link")).Split('\n').Where(l => l.StartsWith("fabd", StringComparison.Ordinal)));
        return string.Join("; ", left);
    }
}
