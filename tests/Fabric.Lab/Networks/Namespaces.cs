using System.Globalization;

using Fabric.Lab.Processes;

namespace Fabric.Lab.Networks;

/// <summary>Network namespaces by their names, as <c>ip netns</c> has them.</summary>
public static class Namespaces
{
    /// <summary>Makes them, each with its loopback up.</summary>
    public static async Task Add(params string[] names)
    {
        foreach (var name in names)
        {
            await Command.Do("ip", "netns", "add", name);
            await In(name, "link set lo up");
        }
    }

    /// <summary>Runs commands of <c>ip</c> in one, up to the first that fails.</summary>
    public static async Task In(string name, params string[] commands) =>
        (await Command.Run(["ip", "-n", name, "-batch", "-"], input: string.Join('\n', commands) + "\n")).Checked();

    /// <summary>Moves a device of this namespace there, and brings it up with an address.</summary>
    public static async Task MoveIn(string name, string device, string address, int mtu)
    {
        await Command.Do("ip", "link", "set", device, "netns", name);
        await In(name, $"addr add {address} dev {device}", $"link set {device} mtu {mtu} up");
    }

    /// <summary>Removes those that are there, with every process in them and what <c>/etc/netns</c> holds for them.</summary>
    public static async Task Remove(params string[] names)
    {
        var present = (await Command.Do("ip", "netns", "list")).Split('\n').Select(l => l.Split(' ')[0]).ToHashSet();
        foreach (var name in names)
        {
            if (present.Contains(name))
            {
                async Task<int[]> Alive() => [.. (await Command.Do("ip", "netns", "pids", name))
                    .Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(p => int.Parse(p, CultureInfo.InvariantCulture))];
                foreach (var pid in await Alive())
                {
                    Posix.kill(pid, Posix.SIGKILL);
                }

                await Poll.Until($"processes in {name} to end", TimeSpan.FromSeconds(5), async () => (await Alive()).Length == 0);
                await Command.Do("ip", "netns", "delete", name);
            }

            if (Directory.Exists($"/etc/netns/{name}"))
            {
                Directory.Delete($"/etc/netns/{name}", recursive: true);
            }
        }

        // Only if it was ours alone.
        if (Directory.Exists("/etc/netns") && !Directory.EnumerateFileSystemEntries("/etc/netns").Any())
        {
            Directory.Delete("/etc/netns");
        }
    }
}
