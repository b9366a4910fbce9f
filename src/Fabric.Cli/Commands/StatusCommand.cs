using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric status</c>: what the gateway of this host sees, once or as it changes.</summary>
internal static class StatusCommand
{
    private const string ClearScreen = "\u001b[H\u001b[2J";

    public static Command Create(CliHost host)
    {
        var output = CommonOptions.Output("table", "wide", "json", "yaml");
        var watch = new Option<bool>("--watch", "-w") { Description = "Print it again whenever it changes, until interrupted" };
        var socket = CommonOptions.Socket(host);
        var command = new Command("status", "Sites, links, services and problems, as this gateway sees them")
        {
            output, watch, socket,
        };
        command.SetAction(async (result, ct) =>
        {
            var format = result.GetRequiredValue(output);
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            if (result.GetValue(watch))
            {
                return await Watch(host, admin, format, ct);
            }

            var status = await admin.CallAsync(AdminMethods.GetStatus, new GetStatusRequest(), ct);
            host.Out.WriteLine(Render(status, format, host, false));
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>
    /// On a terminal each state takes the last one's place. In a pipe they follow each other: JSON as one line each, YAML as
    /// documents, tables with an empty line between.
    /// </summary>
    private static async Task<int> Watch(CliHost host, AdminApi admin, string format, CancellationToken ct)
    {
        try
        {
            var states = admin.Client.ServerStreamingAsync(AdminMethods.WatchStatus, new GetStatusRequest(), null, ct);
            await foreach (var status in states)
            {
                var text = Render(status, format, host, true);
                host.Out.WriteLine(host.IsTerminal && format is "table" or "wide" ? ClearScreen + text
                    : format == "yaml" ? "---\n" + text
                    : format == "json" ? text : text + "\n");
                await host.Out.FlushAsync(ct);
            }
        }
        catch (GrpcException e)
        {
            throw admin.Explain(e);
        }

        throw new CliException(ExitCode.Unreachable, "the gateway ended the watch: it is stopping");
    }

    private static string Render(Status status, string format, CliHost host, bool oneLine) => format is "json" or "yaml"
        ? Documents.Write(Documents.Of(status), format, oneLine)
        : StatusScreen.Render(status, format == "wide", host);
}
