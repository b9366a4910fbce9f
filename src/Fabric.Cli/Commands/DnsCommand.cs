using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric dns resolve</c>: what the gateway's DNS answers for a name, and why.</summary>
internal static class DnsCommand
{
    public static Command Create(CliHost host)
    {
        var name = new Argument<string>("name") { Description = "Such as web.shop.svc.clusterset.local, or any other name" };
        var type = new Argument<string>("type") { Description = "Record type", DefaultValueFactory = _ => "A" };
        var explain = new Option<bool>("--explain") { Description = "Say where the answer comes from, and which sites were considered" };
        var output = CommonOptions.Output("text", "json", "yaml");
        var socket = CommonOptions.Socket(host);
        var resolve = new Command("resolve", "Answer a name as the gateway's DNS does; exit code 0 when there is an answer, 1 when not")
        {
            name, type, explain, output, socket,
        };
        resolve.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var request = new ResolveNameRequest { Name = result.GetRequiredValue(name), Type = result.GetRequiredValue(type) };
            var reply = await Ask(admin, request, ct);
            if (result.GetRequiredValue(output) is not "text" and var format)
            {
                host.Out.WriteLine(Documents.Write(Documents.Of(reply), format));
            }
            else
            {
                Print(host, reply, result.GetValue(explain));
            }

            return reply.Records.Count > 0 ? ExitCode.Ok : ExitCode.Failure;
        });
        return new Command("dns", "What names resolve to") { resolve };
    }

    /// <summary>What is no name is the user's mistake, and not the topology's.</summary>
    private static async Task<ResolveNameReply> Ask(AdminApi admin, ResolveNameRequest request, CancellationToken ct)
    {
        try
        {
            return await admin.CallAsync(AdminMethods.ResolveName, request, ct);
        }
        catch (CliException e) when (e.ExitCode == ExitCode.InvalidTopology)
        {
            throw new CliException(ExitCode.Usage, e.Message);
        }
    }

    private static void Print(CliHost host, ResolveNameReply reply, bool explain)
    {
        foreach (var record in reply.Records)
        {
            host.Out.WriteLine(record);
        }

        if (reply.Records.Count == 0)
        {
            host.Out.WriteLine(reply.Rcode == "NOERROR" ? "NOERROR, without data" : reply.Rcode);
        }

        if (reply.Why.Length > 0)
        {
            host.Out.WriteLine($"  because: {reply.Why}");
        }

        if (explain)
        {
            Explain(host, reply);
        }
    }

    private static void Explain(CliHost host, ResolveNameReply reply)
    {
        host.Out.WriteLine($"  from: {From(reply)}");
        if (reply.Source == "zone")
        {
            host.Out.WriteLine($"  topology: {reply.Revision}, state of {Units.Seconds(reply.AgeSeconds)} ago");
        }

        if (reply.Zone.Length > 0)
        {
            host.Out.WriteLine($"  zone: {reply.Zone}");
        }

        if (reply.Upstream.Length > 0)
        {
            host.Out.WriteLine($"  upstream: {reply.Upstream}, which took {Units.Milliseconds(reply.RttMs)}, {Units.Seconds(reply.CachedSeconds)} ago; "
                + $"kept {Units.Seconds(reply.RemainingSeconds)} more");
        }

        if (reply.Service.Length > 0)
        {
            host.Out.WriteLine($"  service: {reply.Service}{Only(reply)}");
        }

        foreach (var port in reply.Sites.GroupBy(s => s.Port))
        {
            host.Out.WriteLine($"  port {port.Key}:");
            foreach (var site in port)
            {
                host.Out.WriteLine($"    {(site.Chosen ? "in, first" : site.Usable ? "in" : "out")}: {site.Site} ({site.Why})");
            }
        }

        if (reply.Hosts.Count > 0)
        {
            host.Out.WriteLine("  hosts, the nearest site first:");
        }

        foreach (var one in reply.Hosts)
        {
            host.Out.WriteLine($"    {(one.Answered ? "in" : "out")}: {one.Host}.{one.Site}{(one.Address.Length > 0 ? " " + one.Address : "")} ({one.Why})");
        }
    }

    private static string Only(ResolveNameReply reply) => reply.OnlySite.Length == 0 ? ""
        : reply.OnlyHost.Length == 0 ? $", at {reply.OnlySite} and nowhere else" : $", host {reply.OnlyHost} at {reply.OnlySite} and no other";

    private static string From(ResolveNameReply reply) => reply.Source switch
    {
        "zone" => "the fabric's own zone",
        "cache" => "the cache",
        "upstream" => "another server, asked just now",
        "stale" => "the cache, though stale: no server answers",
        _ => "nobody: no server is known for that name",
    };
}
