using System.Net;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>
/// Two pairs that differ in their environment alone: one measures nothing, one all that there is, with the default share of traces, and sends it to a
/// receiver. Each window of the one lies between two of the other, so that what the machine does meanwhile is not taken for a cost.
/// </summary>
internal sealed class TelemetryCost : IAsyncDisposable
{
    public static string[] Measures { get; } = ["telemetry_throughput_cost", "telemetry_cpu_cost", "telemetry_conns_cost", "telemetry_conn_cpu_cost"];

    private readonly FabricPair _off;
    private readonly FabricPair _on;
    private DiscardingReceiver? _receiver;

    public TelemetryCost(WorkFolder work, string driver, IPEndPoint server)
    {
        _off = new FabricPair(work, driver, 2, server, "off", ["OTEL_SDK_DISABLED=true"]);
        _on = new FabricPair(work, driver, 3, server, "on",
        [
            $"OTEL_EXPORTER_OTLP_ENDPOINT=http://{DiscardingReceiver.Address}", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
            // Sixty times as often as by default: so that each window has its part of it.
            "OTEL_METRIC_EXPORT_INTERVAL=1000",
        ]);
    }

    public async Task Start(Sizes sizes)
    {
        _receiver = await DiscardingReceiver.Start();
        foreach (var pair in new[] { _off, _on })
        {
            await pair.Start();
            await Workload.Warm(pair, sizes);
        }

        // Its log events leave in batches, some seconds after they were written.
        await Poll.Until("telemetry to arrive", TimeSpan.FromSeconds(30), () =>
        {
            try
            {
                _receiver.CheckAll();
                return Task.FromResult(true);
            }
            catch (LabException)
            {
                return Task.FromResult(false);
            }
        }, _on.Tail);
    }

    /// <summary>What telemetry costs, as a share of what there is without it, in the order of <see cref="Measures"/>; below zero is noise.</summary>
    public async Task<double?[]> Measure(Sizes sizes)
    {
        var bulk = await Compare(p => Workload.Bulk(p, sizes, 8));
        var requests = await Compare(p => Workload.Requests(p, sizes));
        var connects = await Compare(p => Workload.Connects(p, sizes));
        return
        [
            Math.Max(1 - bulk[0], 1 - requests[0]),
            // After throughput and three percentiles.
            requests[^1] - 1,
            1 - connects[0],
            connects[^1] - 1,
        ];
    }

    public string Tail() => _off.Tail() + _on.Tail();

    public async ValueTask DisposeAsync()
    {
        await _off.DisposeAsync();
        await _on.DisposeAsync();
        if (_receiver is not null)
        {
            await _receiver.DisposeAsync();
        }
    }

    /// <summary>Each value with telemetry, to the mean of those without it before and after.</summary>
    private async Task<double[]> Compare(Func<FabricPair, Task<double[]>> run)
    {
        var before = await run(_off);
        var on = await run(_on);
        var after = await run(_off);
        return [.. on.Select((value, i) => value / ((before[i] + after[i]) / 2))];
    }
}
