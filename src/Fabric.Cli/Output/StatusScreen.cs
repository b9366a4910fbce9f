using System.Globalization;
using Fabric.Protocol.Proto;
using Spectre.Console;
using Status = Fabric.Protocol.Proto.Status;

namespace Fabric.Cli.Output;

/// <summary>
/// A gateway's status on one screen, top to bottom: who it is, sites and gateways, links, services, and what is wrong. A table
/// that is empty is not there. Without a terminal nothing is wrapped or coloured, so that columns stay whole for other tools.
/// </summary>
internal static class StatusScreen
{
    public static string Render(Status status, bool wide, CliHost host)
    {
        var (console, text) = Console(host, wide);
        Header(console, status);
        Gateways(console, status, wide);
        Links(console, status, wide);
        Relays(console, status);
        Services(console, status);
        Listeners(console, status, wide);
        Lan(console, status);
        Upstreams(console, status);
        Problems(console, status);
        return Whole(text);
    }

    /// <summary>What a drain has left.</summary>
    public static string Render(DrainReply reply, CliHost host)
    {
        var (console, text) = Console(host, false);
        var table = Columns(["SERVICE", "PEER", "DIRECTION", "LINK", "STREAMS"], []);
        foreach (var s in reply.Streams)
        {
            Row(table, [Text(s.Service), Text(s.Peer), Text(s.Direction), Text(s.Link), $"{s.Streams}"], []);
        }

        console.Write(table);
        return Whole(text);
    }

    internal static (IAnsiConsole Console, StringWriter Text) Console(CliHost host, bool wide)
    {
        var text = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = host.Colour ? AnsiSupport.Yes : AnsiSupport.No,
            ColorSystem = host.Colour ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
            Out = new AnsiConsoleOutput(text),
        });
        console.Profile.Width = host.IsTerminal && !wide ? host.Width : 1000;
        return (console, text);
    }

    internal static string Whole(StringWriter text) => string.Join('\n', text.ToString().Split('\n').Select(l => l.TrimEnd())).TrimEnd('\n');

    private static void Header(IAnsiConsole console, Status s)
    {
        console.MarkupLine($"[bold]{Text(s.Gateway)}[/] of site {Text(s.Site)} in {Text(s.TrustDomain)}: {State(s.State)}, "
            + $"up {Units.Seconds(s.UptimeSeconds)}, version {Text(s.Version)}");
        console.MarkupLine($"topology {Text(s.TopologyRevision)}, "
            + $"certificate for {Units.Seconds(s.CertificateExpiresInSeconds)}{(s.IdentitySource.Length > 0 ? $" from {Text(s.IdentitySource)}" : "")}, streams {s.Streams} now, {s.StreamsTotal} in all, {s.StreamsRefused} refused"
            + (s.OverlayDriver.Length > 0 ? $", overlay {Text(s.OverlayDriver)}" : ""));
        if (s.Datagrams is { } datagrams && Datagrams(datagrams) is { Length: > 0 } flows)
        {
            console.MarkupLine(flows);
        }

        if (s.Capacity is { } capacity)
        {
            console.MarkupLine($"buffers {Units.Bytes(capacity.MemoryUsed)} of {Units.Bytes(capacity.MemoryLimit)}"
                + (Counts(capacity.Refusals) is { Length: > 0 } turnedAway ? $", turned away: {turnedAway}" : ""));
            if (Counts(capacity.Certificates) is { Length: > 0 } refused)
            {
                console.MarkupLine($"certificates refused: {refused}");
            }
        }

        if (s.TopologyError.Length > 0)
        {
            console.MarkupLine($"[red]the newest topology was refused:[/] {Text(s.TopologyError)}");
        }
    }

    /// <summary>Empty when all are 0.</summary>
    private static string Counts(IEnumerable<RefusalStatus> refusals) =>
        Text(string.Join(", ", refusals.Where(r => r.Count > 0).Select(r => $"{r.Count} {r.Kind.Replace('_', ' ')}")));

    /// <summary>Empty when no datagram ever came.</summary>
    private static string Datagrams(DatagramsStatus d)
    {
        var drops = d.Dropped.Where(r => r.Value > 0).OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => $"{Text(r.Key)} {r.Value}").ToArray();
        return d.FlowsTotal == 0 && drops.Length == 0 ? ""
            : $"flows {d.Flows} now, {d.FlowsTotal} in all, datagrams {d.ToEndpoints} to endpoints, {d.ToClients} to clients"
                + (drops.Length > 0 ? $", [yellow]dropped[/]: {string.Join(", ", drops)}" : "")
                + (d.LastOversize.Length > 0 ? $"\n[yellow]too large:[/] {Text(d.LastOversize)}" : "");
    }

    /// <summary>Ports of connections by their number alone.</summary>
    private static string Ports(ServiceStatus service) => string.Join(',', service.Ports.Select((port, i) =>
        i < service.Protocols.Count && service.Protocols[i].Contains("udp", StringComparison.Ordinal) ? $"{port}/{service.Protocols[i]}" : $"{port}"));

    private static void Gateways(IAnsiConsole console, Status s, bool wide)
    {
        // What mirroring costs is worth a column where something is mirrored.
        var mirrored = !wide && s.Sites.Any(x => x.Gateways.Any(g => g.BytesMirrored > 0));
        var table = Columns(["SITE", "GATEWAY", "STATE", "LINK", "WHY", "CATALOG", "STREAMS", .. mirrored ? ["MIRRORED"] : Array.Empty<string>()],
            wide ? ["SENT", "RECEIVED", "RESENT", "COPIED", "MIRRORED", "RELAYED", "MOVES"] : []);
        foreach (var site in s.Sites)
        {
            foreach (var g in site.Gateways)
            {
                Row(table, [Text(site.Name) + (site.Local ? " (here)" : ""), Text(g.Name), State(g.State), Text(g.ActiveLink),
                    Text(g.ActiveReason), g.State == "self" ? "-" : g.CatalogAgeSeconds < 0 ? "none"
                        : Units.Seconds(g.CatalogAgeSeconds),
                    $"{g.Streams}", .. mirrored ? [Units.Bytes(g.BytesMirrored)] : Array.Empty<string>()],
                    wide ? [Units.Bytes(g.BytesSent), Units.Bytes(g.BytesReceived), Units.Bytes(g.BytesResent),
                        Units.Bytes(g.BytesCopied), Units.Bytes(g.BytesMirrored), Units.Bytes(g.RelayedBytes), $"{g.Moves}"]
                        : []);
            }
        }

        Show(console, table);
    }

    private static void Links(IAnsiConsole console, Status s, bool wide)
    {
        var table = Columns(["LINK", "PEER", "KIND", "STATE", "ROLE", "RTT", "JITTER", "LOSS", "SCORE", "WHY"],
            wide ? ["SITE", "COST", "MTU", "SINCE", "DETECTED", "LANE", "FAULT"] : []);
        foreach (var l in s.Links)
        {
            Row(table, [Text(l.Name), Text(l.Peer), Text(l.Kind), State(l.State), Text(l.Role), Units.Milliseconds(l.RttMs),
                Units.Milliseconds(l.JitterMs), Units.Percent(l.LossRatio),
                l.Score > 0 ? l.Score.ToString("0.0", CultureInfo.InvariantCulture) : "-", Text(Why(l))],
                wide ? [Text(l.PeerSite), $"{l.Cost}", l.Mtu > 0 ? $"{l.Mtu}" : "-", Units.Seconds(l.SinceSeconds),
                    Units.Milliseconds(l.DetectedMs), Text(l.Lane), Text(l.Fault)] : []);
        }

        Show(console, table);
    }

    /// <summary>Those that were asked, and those that could not be.</summary>
    private static void Upstreams(IAnsiConsole console, Status s)
    {
        var table = Columns(["DNS ZONE", "SERVER", "STATE", "RTT", "QUERIES", "FAILURES", "WHY"], []);
        foreach (var u in s.DnsUpstreams.Where(u => u.State != "unused"))
        {
            Row(table, [Text(u.Zone), Text(u.Server), State(u.State), Units.Milliseconds(u.RttMs), $"{u.Queries}", $"{u.Failures}",
                Text(u.Problem)], []);
        }

        Show(console, table);
    }

    private static void Lan(IAnsiConsole console, Status s)
    {
        var table = Columns(["LAN", "HEARD", "TYPE", "ADDRESS", "WHAT IT IS"], []);
        foreach (var l in s.Lan)
        {
            Row(table, [Text(l.Interface), l.AnnouncedAs.Length > 0 ? $"({Text(l.AnnouncedAs)} is announced)" : "-", "", "", Text(l.Problem)], []);
            foreach (var f in l.Services)
            {
                Row(table, ["", Text(f.Instance), Text(f.Type), Text(f.Address), Text(f.Meaning)], []);
            }
        }

        Show(console, table);
    }

    private static void Relays(IAnsiConsole console, Status s)
    {
        var table = Columns(["THROUGH", "PEER", "LANE", "ROLE", "RTT", "SCORE", "WHY"], []);
        foreach (var r in s.Relays)
        {
            Row(table, [Text(r.Name), Text(r.Peer), State(r.Lane), Text(r.Role), Units.Milliseconds(r.RttMs),
                r.Score > 0 ? r.Score.ToString("0.0", CultureInfo.InvariantCulture) : "-",
                Text(string.Join("; ", new[] { r.Reason, r.LaneError }.Where(t => t.Length > 0)))], []);
        }

        Show(console, table);
    }

    private static void Services(IAnsiConsole console, Status s)
    {
        var table = Columns(["SERVICE", "ADDRESS", "PORTS", "SITES", "GOES TO", "WHY"], []);
        foreach (var v in s.Services)
        {
            Row(table, [Text(v.Name) + (v.Delivery == "mirrored" ? " (mirrored)" : ""), Text(v.ServiceAddress), Text(Ports(v)),
                string.Join(", ", v.Sites.Select(x => $"{Text(x.Site)} {x.Healthy}/{x.Endpoints} {State(x.State)}")),
                v.ChosenSite.Length > 0 ? Text(v.ChosenSite) : "[red]nowhere[/]", Text(v.ChosenReason)], []);
        }

        Show(console, table);
    }

    private static void Listeners(IAnsiConsole console, Status s, bool wide)
    {
        var table = Columns(["LISTENER", "ADDRESS", "STATE"], []);
        foreach (var l in s.Listeners.Where(l => wide || !l.Open))
        {
            var closed = $"[red]closed[/]{Text(l.Error.Length > 0 ? ": " + l.Error : "")}";
            Row(table, [Text(l.Name), Text(l.Address), l.Open ? "open" : closed], []);
        }

        Show(console, table);
    }

    private static void Problems(IAnsiConsole console, Status s)
    {
        if (s.Problems.Count > 0)
        {
            console.MarkupLine("\n[red]PROBLEMS[/]");
            foreach (var problem in s.Problems)
            {
                console.MarkupLine($"  [red]✗[/] {Text(problem)}");
            }
        }
    }

    private static string Why(LinkStatus l) =>
        string.Join("; ", new[] { l.Drained.Length > 0 ? $"drained {l.Drained}" : "", l.Fault.Length > 0 ? $"fault {l.Fault}" : "", l.Reason, l.LaneError }.Where(t => t.Length > 0));

    internal static Table Columns(string[] always, string[] more)
    {
        var table = new Table().NoBorder();
        foreach (var name in always.Concat(more))
        {
            var column = new TableColumn($"[bold]{name}[/]").Padding(0, 0, 2, 0);

            // Only reasons may wrap: a name or a number in two halves is none.
            table.AddColumn(name is "WHY" or "SITES" ? column : column.NoWrap());
        }

        return table;
    }

    internal static void Row(Table table, string[] always, string[] more) =>
        table.AddRow(always.Concat(more).Select(c => c.Length == 0 ? "-" : c).ToArray());

    internal static void Show(IAnsiConsole console, Table table)
    {
        if (table.Rows.Count > 0)
        {
            console.WriteLine();
            console.Write(table);
        }
    }

    private static string State(string state) => state switch
    {
        "up" or "ready" or "connected" or "healthy" or "self" => $"[green]{state}[/]",
        "suspect" or "degraded" or "starting" or "draining" => $"[yellow]{state}[/]",
        "down" or "unreachable" => $"[red]{state}[/]",
        _ => Text(state),
    };

    /// <summary>From the daemon, and in part from its peers: no markup, no control characters.</summary>
    internal static string Text(string text) => Markup.Escape(Plain(text));

    public static string Plain(string text) => string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c));
}
