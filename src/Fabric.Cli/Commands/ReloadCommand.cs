using System.CommandLine;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric reload</c>.</summary>
internal static class ReloadCommand
{
    public static Command Create(CliHost host)
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
}
