using System.CommandLine;
using System.Net.Sockets;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric join</c>: makes this gateway's key, redeems the token, writes the identity, and the topology when there is none
/// here yet. A token given by <c>-</c> or <c>--token-file</c> is not in the list of processes.
/// </summary>
internal static class JoinCommand
{
    private static readonly TimeSpan DialLimit = TimeSpan.FromSeconds(5);

    public static Command Create(CliHost host)
    {
        var token = new Argument<string?>("token")
        {
            Description = "The token, or - to read it from standard input",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var tokenFile = new Option<string>("--token-file") { Description = "Read the token from this file", HelpName = "file" };
        var state = CommonOptions.State(host);
        var ca = new Option<string>("--ca")
        {
            Description = "Redeem on the authority's own host, from its folder (environment: FABRIC_CA)",
            HelpName = "path",
        };
        var topology = new Option<string>("--topology")
        {
            Description = "Write the mesh's topology into this folder. Default: FABRIC_TOPOLOGY, when that holds none yet",
            HelpName = "path",
        };
        var force = new Option<bool>("--force") { Description = "Replace the identity that is here" };
        var command = new Command("join", "Join the mesh with a one-time token") { token, tokenFile, state, ca, topology, force };
        command.SetAction(async (result, ct) =>
        {
            var read = Read(host, result.GetValue(token), result.GetValue(tokenFile));
            var store = new GatewayKeyStore(Path.Combine(result.GetRequiredValue(state), "identity"));
            if (store.Exists && !result.GetValue(force))
            {
                throw new CliException(ExitCode.Failure, $"a gateway has joined from {store.Folder} already",
                    "replace it with --force");
            }

            var grant = await Redeem(host, read, result.GetValue(ca), store, ct);
            host.Error.WriteLine($"Joined as {read.GatewayId}; its identity is in {store.Folder}.");
            WriteTopology(host, grant, result.GetValue(topology));
            return ExitCode.Ok;
        });
        return command;
    }

    private static JoinToken Read(CliHost host, string? token, string? file)
    {
        if ((token is null) == (file is null))
        {
            throw new CliException(ExitCode.Usage, "give the token, or - to read it from standard input, or --token-file",
                "make one with: fabric token create SITE/GATEWAY");
        }

        var text = token == "-" ? host.In.ReadLine() : token ?? File.ReadLines(file!).FirstOrDefault();
        return JoinToken.TryParse(text, out var read, out var reason) ? read : throw new CliException(ExitCode.Usage, reason);
    }

    private static async Task<Grant> Redeem(CliHost host, JoinToken token, string? caDir, GatewayKeyStore store,
        CancellationToken ct)
    {
        var local = host.Setting("FABRIC_CA", CommonOptions.DefaultCa);
        caDir ??= token.Addresses.Count == 0 && MeshCa.Exists(local) ? local : null;
        try
        {
            if (caDir is null)
            {
                return await JoinClient.JoinAsync(token, (address, c) => DialAsync(address, host.Time, c), store, host.Time, ct);
            }

            return MeshCa.Exists(caDir) ? JoinClient.JoinLocally(token, MeshCa.Open(caDir, host.Time), store, host.Time)
                : throw new CliException(ExitCode.Failure, $"there is no mesh authority in {caDir}");
        }
        catch (JoinException e)
        {
            var away = e.Failure is JoinFailure.Unreachable or JoinFailure.Timeout;
            throw new CliException(away ? ExitCode.Unreachable : ExitCode.Failure, e.Message, e.Failure switch
            {
                JoinFailure.TokenUnknown => "was the token made by this mesh, less than a week ago?",
                JoinFailure.WrongRoot => "the token is of another mesh, or someone answers in the authority's place",
                JoinFailure.Unreachable => "is fabricd running on the authority's host, and its port open from here?",
                JoinFailure.Protocol or JoinFailure.Timeout =>
                    "the token may be used up: make a new one with `fabric token create`",
                _ => null,
            });
        }
    }

    private static async Task<Stream> DialAsync(string address, TimeProvider time, CancellationToken ct)
    {
        _ = JoinToken.TrySplit(address, out var host, out var port);
        using var limit = new CancellationTokenSource(DialLimit, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(ct, limit.Token);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(host, port, both.Token);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch (Exception e)
        {
            socket.Dispose();
            throw e is OperationCanceledException && !ct.IsCancellationRequested
                ? new IOException($"no answer within {DialLimit.TotalSeconds:0} s") : e;
        }
    }

    /// <summary>
    /// Named, it must succeed. By default it fills an empty folder, and a failure is only told: the join itself is done.
    /// </summary>
    private static void WriteTopology(CliHost host, Grant grant, string? named)
    {
        var folder = named ?? host.Setting("FABRIC_TOPOLOGY", CommonOptions.DefaultTopology);
        if (grant.Topology.Count == 0
            || (named is null && (File.Exists(folder)
                || (Directory.Exists(folder) && Directory.EnumerateFiles(folder).Any(f =>
                    TopologyFiles.IsName(Path.GetFileName(f)))))))
        {
            return;
        }

        if (grant.Topology.FirstOrDefault(f => !TopologyFiles.IsName(f.Name)) is { Name: not null } odd)
        {
            throw new CliException(ExitCode.Failure,
                $"the authority sent a topology file with the name '{odd.Name}': none was written");
        }

        try
        {
            Directory.CreateDirectory(folder);
            foreach (var (name, text) in grant.Topology)
            {
                WholeFile.Write(Path.Combine(folder, name), text);
            }

            host.Error.WriteLine($"Wrote the mesh's topology into {folder}.");
        }
        catch (Exception e) when (named is null && e is IOException or UnauthorizedAccessException)
        {
            host.Error.WriteLine($"The mesh's topology was not written: {e.Message} (hint: name a folder by --topology)");
        }
    }
}
