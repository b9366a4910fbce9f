using Fabric.Lab.Processes;

namespace Fabric.Lab.Deployments;

/// <summary>
/// A Debian of its own under systemd-nspawn: its own processes, network, and systemd as process 1. It lives in the work folder and
/// needs neither machined nor a systemd on the host. Disposal turns it off and removes it.
/// </summary>
internal sealed class Machine : IAsyncDisposable
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(90);

    private readonly Daemon _nspawn;
    private readonly IReadOnlySet<string> _groups;
    private int _leader;

    private Machine(string name, string root, Daemon nspawn, IReadOnlySet<string> groups) =>
        (Name, Root, _nspawn, _groups) = (name, root, nspawn, groups);

    public string Name { get; }

    /// <summary>Its file system, as seen from outside.</summary>
    public string Root { get; }

    /// <summary>Copies the tree, boots it, and waits until its systemd has started everything.</summary>
    /// <param name="binds">Folders of the host that it sees, read-only: path outside, path inside.</param>
    /// <param name="without">Services that it does not start.</param>
    public static async Task<Machine> Boot(WorkFolder work, string name, string tree, IReadOnlyDictionary<string, string> binds, params string[] without)
    {
        var root = work.Of(name);
        await Command.Do("cp", "-a", "--reflink=auto", tree, root);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/hostname"), name + "\n");
        foreach (var service in without)
        {
            File.CreateSymbolicLink(Path.Combine(root, $"etc/systemd/system/{service}.service"), "/dev/null");
        }

        // Where systemd is process 1 it grants the machine a scope; elsewhere the machine stays in the caller's control group.
        string[] unit = Directory.Exists("/run/systemd/system") ? [] : ["--keep-unit"];
        var groups = ControlGroups.Now();
        var nspawn = Daemon.Start(work, $"{name}-console", ["systemd-nspawn", "--quiet", "--register=no", .. unit, "--private-network",
            "--boot", "--console=read-only", $"--machine={name}", "-D", root, .. binds.Select(b => $"--bind-ro={b.Key}:{b.Value}")]);
        var machine = new Machine(name, root, nspawn, groups);
        try
        {
            await Poll.Until($"{name} to boot", BootLimit, machine.HasBooted, () => nspawn.Tail());
            return machine;
        }
        catch
        {
            await machine.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs it inside, as root, and gives its result whatever its exit code.</summary>
    public Task<CommandResult> Run(params string[] argv) =>
        Command.Run(["nsenter", "-t", $"{_leader}", "-a", "-r", "-w", "--", .. argv], TimeSpan.FromSeconds(60));

    /// <summary>Runs it inside, and throws unless it ended with 0. Its output, trimmed.</summary>
    public async Task<string> Do(params string[] argv) => (await Run(argv)).Checked().Output.Trim();

    /// <summary>A program of the host in the network of the machine: its output, trimmed.</summary>
    public async Task<string> DoInNetwork(params string[] argv) => (await Command.Run(["nsenter", "-t", $"{_leader}", "-n", "--", .. argv])).Checked().Output.Trim();

    /// <summary>A file inside.</summary>
    public string Of(string path) => Path.Combine(Root, path.TrimStart('/'));

    public async ValueTask DisposeAsync()
    {
        // nspawn turns SIGTERM into an orderly shutdown.
        await _nspawn.Stop(TimeSpan.FromSeconds(30));
        await _nspawn.DisposeAsync();
        Directory.Delete(Root, recursive: true);
        var propagated = $"/run/systemd/nspawn/propagate/{Name}";
        if (Directory.Exists(propagated))
        {
            Directory.Delete(propagated);
        }

        ControlGroups.RemoveAllBut(_groups);
    }

    private async Task<bool> HasBooted()
    {
        if (!_nspawn.IsAlive)
        {
            throw new LabException(BothEnds.Of("systemd-nspawn ended", _nspawn.Tail()));
        }

        // Process 1 of the machine is the one child that nspawn keeps.
        var children = (await File.ReadAllTextAsync($"/proc/{_nspawn.Pid}/task/{_nspawn.Pid}/children")).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (children is not [var leader])
        {
            return false;
        }

        _leader = int.Parse(leader, System.Globalization.CultureInfo.InvariantCulture);
        // Degraded: some unit that has no business in a container did not start.
        return (await Run("systemctl", "is-system-running")).Output.Trim() is "running" or "degraded";
    }
}
