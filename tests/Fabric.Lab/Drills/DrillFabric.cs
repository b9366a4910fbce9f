using System.Text.RegularExpressions;
using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Lab.Drills;

/// <summary>One fabric on loopback for all tests of drills, with what answers live and bulk probes in virginia; paris may ask for faults at the others.</summary>
public sealed class DrillFabric : IAsyncLifetime
{
    private const int Tries = 3;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    private LabFabric? _fabric;
    private Daemon? _responder;

    public LabFabric Lab => _fabric!;

    public string History => Lab.Work.Of("drills");

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        if (_responder is not null)
        {
            await _responder.DisposeAsync();
        }

        if (_fabric is not null)
        {
            await _fabric.DisposeAsync();
        }
    }

    /// <summary>Started, with all links up and no fault in force.</summary>
    public async Task Ready()
    {
        if (_fabric is null)
        {
            var fabric = await LabFabric.Build("loopback");
            try
            {
                await fabric.Init();
                await File.WriteAllTextAsync(Path.Combine(fabric.Paris.TopologyFolder, "drills.yaml"), """
                    fabric: 1
                    drills: { from: [ paris ] }
                    probes: { holdDown: 500ms }
                    services:
                      - name: echo
                        namespace: shop
                        ports: [ { port: 7000 } ]
                        exports: [ { site: virginia, endpoints: [ "127.72.1.90:7000" ] } ]

                    """);
                _responder = Daemon.Start(fabric.Work, "responder", fabric.FabricCommand("drill", "responder", "--listen", "127.72.1.90:7000"));
                await Task.WhenAll(fabric.StartWorkloads(1 << 20), fabric.Join());
            }
            catch
            {
                await fabric.DisposeAsync();
                throw;
            }

            _fabric = fabric;
        }

        await NothingInForce();
        foreach (var gateway in Lab.Gateways)
        {
            // Longer than a link is ever held back.
            await gateway.Until("all links up", Limit, s => s.Links.All(l => l.State == "up" && l.Lane == "up"));
        }

        await Lab.Paris.Until("services", Limit, s => s.Services.Count == 3 && s.Services.All(v => v.ChosenSite == "virginia"));
    }

    public Task<CommandResult> Command(params string[] arguments) => Processes.Command.Run(Lab.FabricCommand(arguments));

    /// <summary>
    /// <c>fabric drill run</c>. Where the steady state does not hold before anything is touched, this machine was busy with something else, and made a
    /// link fall: it is waited for, and the drill is run again.
    /// </summary>
    public async Task<CommandResult> Run(params string[] arguments)
    {
        for (var left = Tries; ; left--)
        {
            var run = await Processes.Command.Run(Lab.FabricCommand(arguments), TimeSpan.FromMinutes(4));
            if (left == 1 || !Regex.Replace(run.Output, @"\s+", " ").Contains("did not hold before anything was touched", StringComparison.Ordinal))
            {
                return run;
            }

            await Ready();
        }
    }

    public Task InForce(string gateway) => Poll.For($"a fault in force at {gateway}", Limit, async () =>
        (await Faults(gateway)).Faults.Any(f => f.State == "in-force") ? this : null, Lab.Tails);

    /// <summary>At no gateway; what virginia says.</summary>
    public Task<FaultList> NothingInForce() => Poll.For("no fault in force", Limit, async () =>
    {
        foreach (var gateway in Lab.Gateways)
        {
            if ((await Faults(gateway.Name)).Faults.Any(f => f.State != "reverted"))
            {
                return null;
            }
        }

        return await Faults("virginia-1");
    }, Lab.Tails);

    private Task<FaultList> Faults(string gateway) => Lab.Gateways.Single(g => g.Name == gateway).Call(FaultsMethods.List, new ListFaultsRequest());
}
