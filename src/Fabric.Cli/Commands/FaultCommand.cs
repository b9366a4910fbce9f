using System.CommandLine;
using Fabric.Drills.Faults;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric fault cut|clear</c>: drops a link inside the gateway, for drills. Only a daemon that was started with
/// <c>--allow-faults</c> obeys. A cut stays until it is cleared, unless <c>--for</c> says how long it lasts.
/// </summary>
internal static class FaultCommand
{
    public static Command Create(CliHost host)
    {
        return new Command("fault", "Injected faults, for drills (the gateway must allow them)") { Cut(host), Clear(host) };
    }

    private static Command Cut(CliHost host)
    {
        var (link, peer, socket) = (Link(), Peer(), CommonOptions.Socket(host));
        var direction = new Option<string>("--direction")
        {
            Description = "both, in (what arrives is dropped) or out (what is sent is dropped)",
            HelpName = "direction",
            DefaultValueFactory = _ => "both",
        }.AcceptOnlyFromAmong("both", "in", "out");
        var lasting = CommonOptions.Duration("--for", "Hold the cut so long, then clear it. Default: until `fault clear`");
        var command = new Command("cut", "Drop a link's packets silently") { link, peer, direction, lasting, socket };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var (kind, word) = result.GetRequiredValue(direction) switch
            {
                "in" => (FaultKind.CutIn, "cut-in"),
                "out" => (FaultKind.CutOut, "cut-out"),
                _ => (FaultKind.Cut, "cut"),
            };
            var fault = new LinkFault(result.GetRequiredValue(link), result.GetValue(peer) ?? "", kind);
            if (result.GetValue(lasting) is { } span)
            {
                await Hold(host, admin, fault, span, ct);
            }
            else
            {
                await Set(host, admin, fault.Link, fault.Peer, word, ct);
            }

            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Clear(CliHost host)
    {
        var (link, peer, socket) = (Link(), Peer(), CommonOptions.Socket(host));
        var command = new Command("clear", "End the fault on a link") { link, peer, socket };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            await Set(host, admin, result.GetRequiredValue(link), result.GetValue(peer) ?? "", "", ct);
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>Cut, wait, clear: also when interrupted.</summary>
    private static async Task Hold(CliHost host, AdminApi admin, LinkFault fault, TimeSpan span, CancellationToken ct)
    {
        if (span > FaultActions.MaxDuration)
        {
            throw new CliException(ExitCode.Usage, $"--for is at most {FaultActions.MaxDuration.TotalMinutes:0}m");
        }

        try
        {
            await using (await new FaultActions(admin.Client, host.Time).InjectAsync(fault, span, ct))
            {
                host.Error.WriteLine($"Fault on: {fault}.");
                await Task.Delay(span, host.Time, ct);
            }

            host.Error.WriteLine($"Cleared {fault.Link}.");
        }
        catch (GrpcException e)
        {
            throw admin.Explain(e);
        }
        catch (FaultNotRevertedException e)
        {
            throw new CliException(ExitCode.Failure, e.Message, $"fabric fault clear {fault.Link}");
        }
    }

    private static async Task Set(CliHost host, AdminApi admin, string link, string peer, string fault, CancellationToken ct)
    {
        var reply = await admin.CallAsync(AdminMethods.SetFault, new SetFaultRequest { Link = link, Peer = peer, Fault = fault },
            ct);
        if (reply.Links == 0)
        {
            throw new CliException(ExitCode.Failure, $"the gateway has no link {link}{(peer.Length > 0 ? $" to {peer}" : "")}",
                "see fabric status");
        }

        var done = fault.Length == 0 ? "Cleared" : $"Fault {fault} on";
        host.Error.WriteLine($"{done} {link}{(peer.Length > 0 ? $" to {peer}" : "")}.");
    }

    private static Argument<string> Link() => new("link") { Description = "The link's name" };

    private static Option<string> Peer() => new("--peer")
    {
        Description = "Only to this gateway. Default: to all",
        HelpName = "gateway",
    };
}
