using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Protocol.Proto;

namespace Fabric.Lab.Demo;

/// <summary>A download during which dx went dark: where it was cut, how it ended, and how long the fall took to be noticed.</summary>
public sealed record SilentCut(long CutAt, DownloadResult Download, double DetectedMs);

/// <summary>Fetches the payload from virginia, and cuts dx on the way.</summary>
public static class SilentCuts
{
    // A WireGuard in user space, on a machine that is busy with something else, has let 30 MB/s through.
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    /// <param name="at">When to cut: the part of the payload that has come.</param>
    /// <param name="heals">Whether dx is whole again as soon as the bytes take the second link, which is slower; else it stays cut.</param>
    public static async Task<SilentCut> Run(LabFabric fabric, Action<string> now, double at = 0.25, bool heals = false)
    {
        await fabric.ActiveLink("dx");
        await using var download = await Download.Start(fabric.Work, fabric.Network, fabric.Payload);
        await download.Reach((long)(fabric.Payload.Length * at), Limit);
        await fabric.Network.CutDx();
        var cutAt = download.Received;
        if (cutAt == fabric.Payload.Length)
        {
            throw new LabException("the download had ended before the line was cut: it needs a larger payload");
        }

        now($"dx is dark after {cutAt:N0} bytes");
        // The same fall, however late this machine looks: while it is dark it stays down.
        await fabric.Paris.Until("dx down", TimeSpan.FromSeconds(20), s => Dx(s).State == "down");
        await fabric.Virginia.Until("dx down", TimeSpan.FromSeconds(20), s => Dx(s).State == "down");
        if (heals)
        {
            await fabric.Network.HealDx();
        }

        var result = await download.Finish(Limit);
        var status = heals ? await fabric.Paris.Status() : await fabric.ActiveLink(fabric.Network.SecondLink);

        // Either end notices by itself; the later one counts.
        return new SilentCut(cutAt, result, Math.Max(Dx(status).DetectedMs, Dx(await fabric.Virginia.Status()).DetectedMs));
    }

    private static LinkStatus Dx(Status status) => status.Links.Single(l => l.Name == "dx");
}
