using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric drain gateway|link</c> and <c>fabric undrain gateway|link</c>: takes a gateway or a link out of use for maintenance. A
/// drain that is interrupted, or whose limit has passed, stays in force: it can be asked again, or undone.
/// </summary>
internal static class DrainCommands
{
    private static readonly TimeSpan DefaultLimit = TimeSpan.FromSeconds(30);

    /// <summary>The gateway is asked anew so often, for what is left.</summary>
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(500);

    public static Command Drain(CliHost host) => new("drain", "Take this gateway, or a link of it, out of use for maintenance")
    {
        DrainGateway(host), DrainLink(host),
    };

    public static Command Undrain(CliHost host) => new("undrain", "Bring a drained gateway or link back into use")
    {
        UndrainGateway(host), UndrainLink(host),
    };

    private static Command DrainGateway(CliHost host)
    {
        var (name, limit, output, socket) = (GatewayName(), Limit(), Output(), CommonOptions.Socket(host));
        var force = new Option<bool>("--force") { Description = "Reset the streams that are left at the limit" };
        var command = new Command("gateway", "Take no new streams, and wait until those that live have ended")
        {
            name, limit, force, output, socket,
        };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var request = new DrainRequest { Gateway = result.GetValue(name) ?? "" };
            var reply = await Wait(host, admin, request, result.GetValue(limit) ?? DefaultLimit, result.GetValue(force), ct);
            Show(host, reply, result.GetRequiredValue(output));
            host.Error.WriteLine(reply.Remaining == 0 ? "Drained: no stream is left."
                : reply.Cut > 0 ? $"Drained by force: {Streams(reply.Cut)} cut."
                : $"{Streams(reply.Remaining)} left after the limit; the gateway takes no new ones until `fabric undrain gateway`.");
            return Code(reply);
        });
        return command;
    }

    private static Command DrainLink(CliHost host)
    {
        var (link, peer, limit, output, socket) = (LinkName(), Peer(), Limit(), Output(), CommonOptions.Socket(host));
        var command = new Command("link", "Move the streams of a link to the next; both ends use it only when nothing else is left")
        {
            link, peer, limit, output, socket,
        };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var request = new DrainRequest { Link = result.GetRequiredValue(link), Peer = result.GetValue(peer) ?? "" };
            var reply = await Wait(host, admin, request, result.GetValue(limit) ?? DefaultLimit, false, ct);
            Show(host, reply, result.GetRequiredValue(output));
            host.Error.WriteLine(reply.Remaining == 0 ? $"Drained: no stream uses {request.Link}."
                : $"{Streams(reply.Remaining)} still on {request.Link} ({reply.Reason}); it stays drained until `fabric undrain link {request.Link}`.");
            return Code(reply);
        });
        return command;
    }

    private static Command UndrainGateway(CliHost host)
    {
        var (name, socket) = (GatewayName(), CommonOptions.Socket(host));
        var command = new Command("gateway", "Take new streams again") { name, socket };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            await admin.CallAsync(AdminMethods.Drain, new DrainRequest { Gateway = result.GetValue(name) ?? "", Undo = true }, ct);
            host.Error.WriteLine("The gateway takes new streams.");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command UndrainLink(CliHost host)
    {
        var (link, peer, socket) = (LinkName(), Peer(), CommonOptions.Socket(host));
        var command = new Command("link", "Use the link again") { link, peer, socket };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var request = new DrainRequest { Link = result.GetRequiredValue(link), Peer = result.GetValue(peer) ?? "", Undo = true };
            await admin.CallAsync(AdminMethods.Drain, request, ct);
            host.Error.WriteLine($"{request.Link} is in use again, unless the other end drains it as well.");
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>Asks again and again until nothing is left or the limit has passed, and says meanwhile what is left.</summary>
    private static async Task<DrainReply> Wait(
        CliHost host, AdminApi admin, DrainRequest request, TimeSpan limit, bool force, CancellationToken ct)
    {
        for (var left = limit; ; left -= Slice)
        {
            var last = left <= Slice;
            var asked = request.Clone();
            asked.LimitSeconds = (last ? left : Slice).TotalSeconds;
            asked.Force = force && last;
            var reply = await admin.CallAsync(AdminMethods.Drain, asked, ct);
            if (host.IsTerminal)
            {
                await host.Error.WriteAsync($"\r\u001b[K{(reply.Remaining > 0 && !last ? Progress(reply) : "")}");
                await host.Error.FlushAsync(ct);
            }

            if (reply.Remaining == 0 || last)
            {
                return reply;
            }
        }
    }

    private static string Progress(DrainReply reply)
    {
        var most = reply.Streams.OrderByDescending(s => s.Streams).Take(3).Select(s => $"{StatusScreen.Plain(s.Service)} {s.Streams}");
        return $"waiting for {Streams(reply.Remaining)}: {string.Join(", ", most)}{(reply.Streams.Count > 3 ? ", …" : "")}";
    }

    private static void Show(CliHost host, DrainReply reply, string format)
    {
        if (format != "table")
        {
            host.Out.WriteLine(Documents.Write(Documents.Of(reply), format));
        }
        else if (reply.Remaining > 0)
        {
            host.Out.WriteLine(StatusScreen.Render(reply, host));
        }
    }

    private static int Code(DrainReply reply) => reply.Remaining == 0 ? ExitCode.Ok : ExitCode.StreamsLeft;

    private static string Streams(uint count) => count == 1 ? "1 stream" : $"{count} streams";

    private static Argument<string?> GatewayName() => new("gateway")
    {
        Description = "The gateway's name, to be sure that it is this one",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static Argument<string> LinkName() => new("link") { Description = "The link's name" };

    private static Option<string> Peer() => new("--peer") { Description = "Only to this gateway. Default: to all", HelpName = "gateway" };

    private static Option<TimeSpan?> Limit() => CommonOptions.Duration("--limit", "How long to wait. Default: 30s");

    private static Option<string> Output() => CommonOptions.Output("table", "json", "yaml");
}
