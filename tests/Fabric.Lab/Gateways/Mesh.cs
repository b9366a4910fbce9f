using Fabric.Lab.Processes;

namespace Fabric.Lab.Gateways;

/// <summary>The command line as an operator uses it: the mesh is made, and gateways join it.</summary>
/// <param name="folder">Its folder: where several meshes share a work folder, each has its own.</param>
public sealed class Mesh(WorkFolder work, Programs programs, string folder = "mesh")
{
    /// <summary>The folder of the mesh's CA.</summary>
    public string Ca => work.Of(folder, "ca");

    /// <summary><c>fabric init</c>: the mesh's CA and the first topology.</summary>
    public async Task Init(string trustDomain, string topology)
    {
        var wanted = work.Of($"{folder}-wanted.yaml");
        await File.WriteAllTextAsync(wanted, topology);
        await Fabric("init", "--dir", work.Of(folder), "--trust-domain", trustDomain, "--topology", wanted);
    }

    /// <summary>
    /// The gateway joins with a token of its own: on the authority's host by its folder, elsewhere through the gateway there, at
    /// <paramref name="authority"/> (<c>address:port</c>).
    /// </summary>
    public async Task Join(GatewayProcess gateway, string authority)
    {
        await CreateToken(gateway, authority);
        await Join(gateway);
    }

    /// <summary>The token that the gateway is to join with. Nothing needs to run for it but <see cref="Init"/> before.</summary>
    public async Task CreateToken(GatewayProcess gateway, string authority)
    {
        var token = await Fabric("token", "create", $"{gateway.Site}/{gateway.Name}",
            "--ca", Ca, "--topology", work.Of(folder, "topology"), "--via", authority);
        var file = TokenFile(gateway);
        await File.WriteAllTextAsync(file, token);
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    /// <summary>With the token that was created for it.</summary>
    public async Task Join(GatewayProcess gateway) =>
        (await JoinWith(TokenFile(gateway), gateway, gateway.State, gateway.TopologyFolder)).Checked();

    /// <summary>Where the token lies that the gateway joined with.</summary>
    public string TokenFile(GatewayProcess gateway) => work.Of(gateway.Folder, "token");

    /// <summary><c>fabric join</c> where the gateway is, whatever comes of it.</summary>
    public Task<CommandResult> JoinWith(string tokenFile, GatewayProcess gateway, string state, string topology) => Command.Run(gateway.Inside(
        FabricCommand(["join", "--token-file", tokenFile, "--state", state, "--topology", topology, .. gateway.Ca is null ? Array.Empty<string>() : ["--ca", gateway.Ca]])));

    /// <summary>The command line, checked: its output.</summary>
    public async Task<string> Fabric(params string[] arguments) => (await Command.Run(FabricCommand(arguments))).Checked().Output;

    /// <summary>How a person would call the command line.</summary>
    public string[] FabricCommand(params string[] arguments) =>
        ["env", $"DOTNET_ROOT={Programs.Environment["DOTNET_ROOT"]}", programs.Fabric, .. arguments];
}
