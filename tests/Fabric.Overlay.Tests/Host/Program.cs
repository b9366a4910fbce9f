using System.Collections.Immutable;
using System.Net;
using System.Text.Json;
using Fabric.Overlay.Keys;

namespace Fabric.Overlay.Tests.Host;

/// <summary>
/// <c>dotnet Fabric.Overlay.Tests.dll host PREFIX OWNER DRIVER RUNTIME_DIRECTORY</c>: an overlay in the network namespace in
/// which it is started. Reads one <see cref="HostRequest"/> (JSON) per line, answers one <see cref="HostAnswer"/> per line; its
/// log goes to standard error. At the end of its input it detaches.
/// <c>kernel-check</c> runs <see cref="Real.KernelCheck"/> on the kernel in which it is started.
/// </summary>
public static class Program
{
    public static async Task<int> Main(string[] args)
    {
        if (args is ["kernel-check"])
        {
            await Real.KernelCheck.RunAsync();
            return 0;
        }

        if (args is not ["host", var prefix, var owner, var preference, var directory])
        {
            await Console.Error.WriteLineAsync("usage: host PREFIX OWNER DRIVER RUNTIME_DIRECTORY");
            return 2;
        }

        var options = new OverlayOptions
        {
            Owner = owner,
            InterfacePrefix = prefix,
            RuntimeDirectory = directory,
            Log = Console.Error.WriteLine,
        };
        OverlayNetwork? overlay = null;
        await Console.Out.WriteLineAsync("ready");
        while (await Console.In.ReadLineAsync() is { } line)
        {
            var request = JsonSerializer.Deserialize<HostRequest>(line)!;
            HostAnswer answer;
            try
            {
                // Only what has interfaces needs a driver.
                overlay ??= request.Do == "local" ? null
                    : new(WireGuardDrivers.Choose(preference, options, TimeProvider.System, out _), options);
                answer = await AnswerAsync(overlay!, options, request);
            }
            catch (OverlayException e)
            {
                answer = new() { Faults = [$"{e.Stage}: {e.Message}"] };
            }

            await Console.Out.WriteLineAsync(JsonSerializer.Serialize(answer));
        }

        await (overlay?.DetachAsync() ?? Task.CompletedTask);
        return 0;
    }

    private static async Task<HostAnswer> AnswerAsync(OverlayNetwork overlay, OverlayOptions options, HostRequest request)
    {
        switch (request.Do)
        {
            case "reconcile":
                var plan = new OverlayPlan([.. request.Interfaces.Select(i => i.ToPlan())]);
                var faults = await overlay.ReconcileAsync(plan, CancellationToken.None);
                return new() { Faults = [.. faults.Select(f => $"{f.Stage}: {f.Message}")] };
            case "status":
                var status = await overlay.GetStatusAsync(CancellationToken.None);
                return new()
                {
                    Faults = [.. status.Where(s => s.Fault is not null).Select(s => s.Fault!.Message)],
                    Handshakes = [.. status.SelectMany(s => s.Status?.Peers ?? [])
                        .Select(p => p.LastHandshake?.ToString("O") ?? "never")],
                    Ranges = [.. status.SelectMany(s => s.Status?.Peers ?? []).Select(p => p.AllowedIps.Length)],
                };
            case "local":
                var (routes, range) = (new LocalRoutes(options), IPNetwork.Parse(request.Range!));
                var changed = request.Remove ? await routes.RemoveLocalRangeAsync(range) : await routes.AddLocalRangeAsync(range);
                return new() { Changed = changed, Loopback = (await routes.FindInterfaceAsync("lo"))?.Mtu ?? 0 };
            case "dispose":
                await overlay.DisposeAsync();
                return new();
            default:
                return new() { Faults = [$"what is '{request.Do}'?"] };
        }
    }
}

public sealed record HostRequest(string Do)
{
    public HostInterface[] Interfaces { get; init; } = [];
    public string? Range { get; init; }
    public bool Remove { get; init; }
}

public sealed record HostAnswer
{
    public string[] Faults { get; init; } = [];
    public string[] Handshakes { get; init; } = [];
    public bool Changed { get; init; }

    /// <summary>Allowed ranges of each peer.</summary>
    public int[] Ranges { get; init; } = [];

    /// <summary>MTU of the loopback interface.</summary>
    public int Loopback { get; init; }
}

public sealed record HostInterface(string Link, string Name, string Key, int Port, string Address, int Mtu, HostPeer[] Peers)
{
    public OverlayInterface ToPlan() => new(Link, Name, new DeviceConfig
    {
        PrivateKey = WireGuardKey.FromBase64(Key),
        ListenPort = Port,
        Address = IPAddress.Parse(Address),
        Mtu = Mtu,
        Peers = [.. Peers.Select(p => p.ToPlan())],
    }, []);
}

public sealed record HostPeer(string Key, string? Endpoint, string[] Ranges, int? Keepalive)
{
    public WireGuardPeer ToPlan() => new(WireGuardPublicKey.FromBase64(Key), Endpoint is null ? null : IPEndPoint.Parse(Endpoint),
        [.. Ranges.Select(IPNetwork.Parse)], Keepalive is { } s ? TimeSpan.FromSeconds(s) : null);
}
