using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using Fabric.Drills.Measurement;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric drill responder</c>: stands where no service can echo, for the probes live and bulk, until it is interrupted.
/// </summary>
internal static class DrillResponderCommand
{
    public static Command Create(CliHost host)
    {
        var listen = new Option<IPEndPoint>("--listen")
        {
            Description = "Where to listen, such as 10.0.0.5:7000; port 0 takes one that is free",
            HelpName = "address:port",
            Required = true,
            CustomParser = result =>
            {
                var text = result.Tokens.Single().Value;
                if (text.LastIndexOf(':') > 0 && IPEndPoint.TryParse(text, out var address) && (text.Contains('[') || text.Count(c => c == ':') == 1))
                {
                    return address;
                }

                result.AddError($"'{text}' is no address and port for --listen: write 10.0.0.5:7000, or [fd00::5]:7000");
                return null;
            },
        };
        var most = new Option<int>("--connections")
        {
            Description = "At most so many at once; more are reset. 1 to 4096",
            HelpName = "number",
            DefaultValueFactory = _ => Responder.DefaultConnections,
        };
        most.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is var value and (< 1 or > 4096))
            {
                result.AddError($"--connections is 1 to 4096, not {value}");
            }
        });
        var command = new Command("responder", "Echo the numbered messages, and send the hashed streams, of a drill's live and bulk probes")
        {
            listen, most,
        };
        command.SetAction((result, ct) => Run(host, result.GetRequiredValue(listen), result.GetRequiredValue(most), ct));
        return command;
    }

    private static async Task<int> Run(CliHost host, IPEndPoint address, int most, CancellationToken ct)
    {
        Responder responder;
        try
        {
            responder = new Responder(address, most);
        }
        catch (SocketException e)
        {
            throw new CliException(ExitCode.Failure, $"cannot listen on {address}: {e.Message}", e.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => "another process listens there; choose another port",
                SocketError.AddressNotAvailable => "that is no address of this machine",
                SocketError.AccessDenied => "ports below 1024 need root; choose another port",
                _ => null,
            });
        }

        using (responder)
        {
            host.Out.WriteLine($"listening on {responder.Address}");
            // By Ctrl-C or SIGTERM: to be told to end is no failure here.
            var ended = new TaskCompletionSource();
            using var told = ct.Register(() => ended.TrySetResult());
            await ended.Task;
        }

        return ExitCode.Ok;
    }
}
