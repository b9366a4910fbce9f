using Fabric.Cli.Output;
using Fabric.Protocol.Proto;
using Google.Protobuf;
using Spectre.Console;
using Status = Fabric.Protocol.Proto.Status;

namespace Fabric.Cli.Trust;

/// <summary>Whom the mesh trusts, and how far each gateway has come, on one screen.</summary>
internal static class TrustTable
{
    /// <summary>A gateway that was not heard of for so long is away, as far as is known: it speaks every 15 s.</summary>
    public static readonly TimeSpan Silence = TimeSpan.FromSeconds(45);

    public static string Render(Status status, CliHost host)
    {
        var trust = status.Trust ?? new TrustStatus();
        var now = host.Time.GetUtcNow().ToUnixTimeSeconds();
        var (console, text) = StatusScreen.Console(host, false);
        console.MarkupLine(trust.Version == 0 ? "no trust document yet: nobody was evicted, and no root rotated"
            : $"trust document {trust.Version} of {Time(trust.Created)}"
                + (trust.Evicted.Count > 0 ? $", [red]evicted[/]: {StatusScreen.Text(string.Join(", ", trust.Evicted))}" : ", nobody is evicted"));
        var roots = StatusScreen.Columns(["ROOT", "SUBJECT", "FOR", "ISSUES"], []);
        foreach (var root in trust.Roots)
        {
            StatusScreen.Row(roots, [Short(root.Sha256), StatusScreen.Text(root.Subject), Units.Seconds(root.Expires - now),
                trust.Issuing.IsEmpty ? trust.Roots.Count == 1 ? "yes" : "-" : trust.Issuing.Equals(root.Sha256) ? "yes" : "no"], []);
        }

        StatusScreen.Show(console, roots);
        var gateways = StatusScreen.Columns(["SITE", "GATEWAY", "DOCUMENT", "LEAF FOR", "UNDER", "INTERMEDIATE", "FOR", "TRUSTS", "OLD LANES", "REPORTED"], []);
        foreach (var (site, gateway) in Gateways(status))
        {
            StatusScreen.Row(gateways, Of(status, site, gateway) is not { } r
                ? [StatusScreen.Text(site), StatusScreen.Text(gateway), "-", "-", "-", "-", "-", "-", "-", "[red]never[/]"]
                : [
                    StatusScreen.Text(site), StatusScreen.Text(gateway), r.Version == trust.Version ? $"{r.Version}" : $"[yellow]{r.Version}[/]",
                    Units.Seconds(r.LeafExpires - now), Short(r.LeafRoot), Short(r.Intermediate),
                    r.Intermediate.IsEmpty ? "-" : Units.Seconds(r.IntermediateExpires - now),
                    string.Join(' ', r.Roots.Select(Short)), $"{r.OldLanes}", Reported(r, now),
                ], []);
        }

        StatusScreen.Show(console, gateways);
        return StatusScreen.Whole(text);
    }

    /// <summary>Gateways of the topology, without those that were evicted: a moment after the document, the sites may still have them.</summary>
    public static IEnumerable<(string Site, string Gateway)> Gateways(Status status) =>
        status.Sites.Where(s => status.Trust?.Evicted.Contains(s.Name) != true).SelectMany(s => s.Gateways.Select(g => (s.Name, g.Name)))
            .Where(g => status.Trust?.Evicted.Contains($"{g.Item1}/{g.Item2}") != true);

    public static GatewayTrust? Of(Status status, string site, string gateway) =>
        status.Trust?.Gateways.FirstOrDefault(r => r.Site == site && r.Gateway == gateway);

    /// <summary>The first 12 digits, as people compare them.</summary>
    public static string Short(ByteString sha256) => sha256.IsEmpty ? "-" : Convert.ToHexStringLower(sha256.Span)[..12];

    public static string Time(long seconds) => $"{DateTimeOffset.FromUnixTimeSeconds(seconds):yyyy-MM-dd HH:mm:ss}Z";

    private static string Reported(GatewayTrust report, long now) => now - report.Reported <= Silence.TotalSeconds
        ? $"{Units.Seconds(Math.Max(0, now - report.Reported))} ago" : $"[red]{Units.Seconds(now - report.Reported)} ago[/]";
}
