using System.Net;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>
/// Two sites on loopback, each with a fabricd as it is published, joined by an interconnect link: the client connects to the service
/// address in the one, and the server is the endpoint in the other.
/// </summary>
public sealed class FabricPair : Contestant
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly Mesh _mesh;
    private readonly GatewayProcess _a;
    private readonly GatewayProcess _b;
    private readonly int _number;
    private readonly IPEndPoint _server;
    private IPEndPoint? _address;

    /// <param name="driver">Of the tunnel: <c>auto</c>, <c>linux</c> or <c>portable</c>.</param>
    /// <param name="number">Tells the addresses of one pair from those of another.</param>
    /// <param name="label">Tells it from another pair with that driver.</param>
    /// <param name="environment">More variables of both: <c>NAME=value</c>.</param>
    public FabricPair(WorkFolder work, string driver, int number, IPEndPoint server, string label = "", string[]? environment = null)
    {
        Name = string.Join(' ', new[] { "fabric", driver == "auto" ? "" : driver, label }.Where(w => w.Length > 0));
        var prefix = driver + label;
        (_number, _server) = (number, server);
        var programs = Programs.Find();
        _mesh = new Mesh(work, programs, $"mesh-{prefix}");
        _a = Gateway($"{prefix}-a", _mesh.Ca);
        _b = Gateway($"{prefix}-b", null);

        string[] Inside(string[] argv) => ["env", $"FABRIC_TUNNEL_DRIVER={driver}", .. environment ?? [], .. argv];
        GatewayProcess Gateway(string site, string? ca) => new(work, site, programs, Inside, ["--wireguard", "off"]) { Ca = ca };
    }

    public override string Name { get; }
    public override IPEndPoint Address => _address ?? throw new InvalidOperationException("it was not started");

    protected override IReadOnlyCollection<int> Leaders => [_a.Pid, _b.Pid];

    private string AddressOfA => $"127.{100 + _number}.0.1";
    private string AddressOfB => $"127.{110 + _number}.0.1";

    private string Topology => $$"""
        fabric: 1
        trustDomain: bench.example

        sites:
          - name: {{_a.Site}}
            serviceAddresses: 127.{{120 + _number}}.0.0/16
            gateways:
              - {name: {{_a.Name}}, listen: [{{AddressOfA}}], dns: "{{AddressOfA}}:5353", metrics: "{{AddressOfA}}:9440", dashboard: off}
          - name: {{_b.Site}}
            serviceAddresses: 127.{{130 + _number}}.0.0/16
            gateways:
              - {name: {{_b.Name}}, listen: [{{AddressOfB}}], dns: "{{AddressOfB}}:5353", metrics: "{{AddressOfB}}:9440", dashboard: off}

        links:
          - name: line
            type: interconnect
            ends:
              - {gateway: {{_a.Name}}, address: {{AddressOfA}}}
              - {gateway: {{_b.Name}}, address: {{AddressOfB}}}

        services:
          - name: load
            namespace: bench
            ports: [{port: {{_server.Port}}}]
            exports: [{site: {{_b.Site}}, endpoints: ["{{_server}}"]}]

        policies:
          - {name: all, action: allow, from: ["site/{{_a.Site}}/*"], to: ["*.bench"]}

        """;

    public override string Tail() => _a.Tail() + _b.Tail();

    public override async ValueTask DisposeAsync()
    {
        await _a.DisposeAsync();
        await _b.DisposeAsync();
    }

    protected override async Task StartProcesses()
    {
        var first = _address is null;
        if (first)
        {
            await _mesh.Init("bench.example", Topology);
        }

        foreach (var gateway in new[] { _a, _b })
        {
            if (first)
            {
                await _mesh.Join(gateway, $"{AddressOfA}:7443");
            }

            gateway.Start();
            await gateway.Ready(Limit);
        }

        var status = await _a.Until("the link up and the service healthy", Limit, s => s.Links.Count == 1
            && s.Links.All(l => l.State == "up" && l.Lane == "up") && s.Services.Any(x => x.ChosenSite == _b.Site));
        var service = status.Services.Single();
        _address = new IPEndPoint(IPAddress.Parse(service.ServiceAddress), (int)service.Ports[0]);
    }

    protected override Task Stop() => Task.WhenAll(_a.Stop(), _b.Stop());
}
