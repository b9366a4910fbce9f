namespace Fabric.Lab.Deployments;

/// <summary>The control groups that systemd-nspawn makes below its caller's when no systemd grants it a scope, and leaves behind.</summary>
internal static class ControlGroups
{
    /// <summary>Those that are there now. Take it before, and give it to <see cref="RemoveAllBut"/> after.</summary>
    public static IReadOnlySet<string> Now() => Candidates().Where(Directory.Exists).ToHashSet();

    /// <summary>Removes those that came since. The kernel refuses to remove one with a process in it.</summary>
    public static void RemoveAllBut(IReadOnlySet<string> before)
    {
        foreach (var group in Candidates().Where(g => Directory.Exists(g) && !before.Contains(g)))
        {
            Remove(group);
        }
    }

    // Its files are the kernel's: only folders are removed, the deepest first.
    private static void Remove(string group)
    {
        foreach (var child in Directory.GetDirectories(group))
        {
            Remove(child);
        }

        Directory.Delete(group);
    }

    // /proc/self/cgroup: ID:CONTROLLERS:PATH; version 2 has no controllers, and is mounted at the top or, in a hybrid, at unified.
    private static IEnumerable<string> Candidates() =>
        from line in File.ReadAllLines("/proc/self/cgroup")
        let parts = line.Split(':', 3)
        from mount in parts[1].Length == 0 ? ["", "unified"] : new[] { parts[1].Replace("name=", "") }
        from name in new[] { "payload", "supervisor" }
        select Path.Join("/sys/fs/cgroup", mount, parts[2], name);
}
