using Fabric.Cli.Output;
using Fabric.Identity.Trust;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Cli.Trust;

/// <summary>
/// The gateways of the mesh, as the authority's gateway hears of them: hands it a document, and waits until the others have come as far as
/// is asked.
/// </summary>
internal sealed class Followers(CliHost host, AdminApi admin)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(250);

    public Task<Status> StatusAsync(CancellationToken ct) => admin.CallAsync(AdminMethods.GetStatus, new GetStatusRequest(), ct);

    public Task PublishAsync(TrustDocument document, CancellationToken ct) => admin.CallAsync(AdminMethods.PublishTrust, document.Signed!, ct);

    /// <summary>Who lacks it, with since when that is known; empty when nobody does. Waits for that, at most <paramref name="limit"/>.</summary>
    /// <param name="has">Whether a gateway's report says that it has what is asked.</param>
    /// <param name="lacks">What it says otherwise, such as <c>has version 3</c>.</param>
    /// <param name="limit">How long to wait.</param>
    /// <param name="onlyHeard">Whether not to wait for gateways of which nothing was heard lately.</param>
    /// <param name="ct">Gives up.</param>
    public async Task<IReadOnlyList<string>> WaitAsync(
        Func<GatewayTrust, bool> has, Func<GatewayTrust, string> lacks, TimeSpan limit, bool onlyHeard, CancellationToken ct)
    {
        var started = host.Time.GetTimestamp();
        while (true)
        {
            var status = await StatusAsync(ct);
            var now = host.Time.GetUtcNow().ToUnixTimeSeconds();
            var late = TrustTable.Gateways(status).Select(g => (g.Site, g.Gateway, Report: TrustTable.Of(status, g.Site, g.Gateway)))
                .Where(g => g.Report is null || !has(g.Report)).ToList();
            var awaited = onlyHeard ? late.Count(g => g.Report is { } r && now - r.Reported <= TrustTable.Silence.TotalSeconds) : late.Count;
            if (host.IsTerminal)
            {
                await host.Error.WriteAsync($"\r\u001b[K{(awaited > 0 ? $"waiting for {Names(late.Select(l => l.Gateway))}" : "")}");
                await host.Error.FlushAsync(ct);
            }

            if (awaited == 0 || host.Time.GetElapsedTime(started) >= limit)
            {
                return [.. late.Select(g => StatusScreen.Plain($"{g.Site}/{g.Gateway} " + (g.Report is { } r
                    ? $"{lacks(r)}, as it said {Units.Seconds(Math.Max(0, now - r.Reported))} ago ({TrustTable.Time(r.Reported)})"
                    : $"was not heard of since {status.Gateway} started {Units.Seconds(status.UptimeSeconds)} ago")))];
            }

            await Task.Delay(Look, host.Time, ct);
        }
    }

    private static string Names(IEnumerable<string> names)
    {
        var all = names.ToList();
        return string.Join(", ", all.Take(3).Select(StatusScreen.Plain)) + (all.Count > 3 ? $" and {all.Count - 3} more" : "");
    }
}
