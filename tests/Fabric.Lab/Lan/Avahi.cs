using Fabric.Lab.Processes;

namespace Fabric.Lab.Lan;

/// <summary>
/// avahi-daemon in a network namespace, with a message bus and a /run of its own: another implementation of multicast DNS, and the one that most
/// machines with Linux have.
/// </summary>
internal sealed class Avahi : IAsyncDisposable
{
    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(20);

    private readonly Daemon _daemon;
    private readonly WorkFolder _work;
    private readonly int _inside;

    private Avahi(WorkFolder work, Daemon daemon, int inside) => (_work, _daemon, _inside) = (work, daemon, inside);

    public static async Task<Avahi> Start(WorkFolder work, string space)
    {
        var pid = work.Of("avahi.pid");
        var daemon = Daemon.Start(work, "avahi", ["ip", "netns", "exec", space, "unshare", "--mount", "sh", "-ec", $"""
            mount -t tmpfs -o mode=755 tmpfs /run
            mkdir /run/dbus
            echo "$$" > {pid}
            dbus-daemon --system --nofork --nopidfile --nosyslog &
            while [ ! -S /run/dbus/system_bus_socket ]; do sleep 0.1; done
            exec avahi-daemon --no-drop-root --no-chroot --no-rlimits
            """]);
        var inside = 0;
        await Poll.Until("avahi-daemon", _limit, async () =>
        {
            if (!File.Exists(pid) || !int.TryParse(await File.ReadAllTextAsync(pid), out inside))
            {
                return false;
            }

            return (await Command.Run([.. Inside(inside), "avahi-browse", "--all", "--terminate", "--parsable"])).ExitCode == 0;
        }, () => daemon.Tail());
        return new Avahi(work, daemon, inside);
    }

    /// <summary>Publishes a service until it is disposed.</summary>
    public Daemon Publish(string name, string type, int port, params string[] text) =>
        Daemon.Start(_work, $"publish-{port}", [.. Inside(_inside), "avahi-publish", "-s", name, type, $"{port}", .. text]);

    /// <summary>Instances of a type, resolved over IPv4 or IPv6: one line for each, fields between semicolons.</summary>
    public async Task<string[]> Browse(string type, string over = "IPv4") => [.. (await Command.Do([.. Inside(_inside), "avahi-browse", "--resolve", "--parsable", "--terminate", type]))
        .Split('\n').Where(l => l.StartsWith('=') && l.Contains($";{over};", StringComparison.Ordinal))];

    public string Tail() => _daemon.Tail();

    public async ValueTask DisposeAsync()
    {
        await _daemon.Stop(TimeSpan.FromSeconds(5));
        await _daemon.DisposeAsync();
    }

    private static string[] Inside(int pid) => ["nsenter", "-t", $"{pid}", "-n", "-m", "--"];
}
