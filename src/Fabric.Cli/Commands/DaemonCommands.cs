using System.CommandLine;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric reload</c> and <c>fabric drain</c>.</summary>
internal static class DaemonCommands
{
    public static Command Reload(CliHost host)
    {
        var socket = CommonOptions.Socket(host);
        var command = new Command("reload", "Have the gateway read its topology again; a bad one is refused whole") { socket };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var reply = await admin.CallAsync(AdminMethods.Reload, new ReloadRequest(), ct);
            host.Out.WriteLine(reply.Revision);
            host.Error.WriteLine(reply.Changed ? $"Topology {reply.Revision} is in force."
                : $"Topology {reply.Revision} was in force already.");
            return ExitCode.Ok;
        });
        return command;
    }

    public static Command Drain(CliHost host)
    {
        var socket = CommonOptions.Socket(host);
        var limit = CommonOptions.Duration("--limit", "How long to wait for streams to end. Default: 30s");
        var command = new Command("drain", "Have the gateway take no new streams, and wait until those that live have ended")
        {
            socket, limit,
        };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var span = result.GetValue(limit) ?? TimeSpan.FromSeconds(30);
            var reply = await admin.CallAsync(AdminMethods.Drain, new DrainRequest { LimitSeconds = span.TotalSeconds }, ct,
                span + TimeSpan.FromSeconds(10));
            host.Out.WriteLine(reply.Remaining);
            host.Error.WriteLine(reply.Remaining == 0 ? "Drained: no stream is left."
                : $"{reply.Remaining} streams were left after the limit.");
            return reply.Remaining == 0 ? ExitCode.Ok : ExitCode.Failure;
        });
        return command;
    }
}
