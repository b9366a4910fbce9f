using System.Security.Cryptography;
using System.Text;

using Fabric.Lab.Processes;

namespace Fabric.Lab.Deployments;

/// <summary>
/// A minimal Debian, as the Vagrantfile's box is one. Fetched once and kept in /var/cache/fabric-lab, which may be removed at any
/// time; machines run on copies of it.
/// </summary>
internal static class DebianTree
{
    private const string Suite = "bookworm";

    // What the unit needs, what scripts/vagrant.sh would install, and ip.
    private const string Packages = "systemd,systemd-sysv,dbus,ca-certificates,libssl3,iproute2,wireguard-go,wireguard-tools";

    private static readonly TimeSpan FetchLimit = TimeSpan.FromMinutes(10);

    /// <summary>Absolute path of the tree.</summary>
    /// <param name="more">More packages: another tree than that without.</param>
    public static async Task<string> Ensure(params string[] more)
    {
        var packages = string.Join(',', [Packages, .. more]);
        var key = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{Suite} {packages}")))[..8];
        var tree = $"/var/cache/fabric-lab/{Suite}-{key}";
        if (Directory.Exists(tree))
        {
            return tree;
        }

        var next = $"{tree}.{Environment.ProcessId}";
        Directory.CreateDirectory(next);
        try
        {
            (await Command.Run(["debootstrap", "--variant=minbase", $"--include={packages}", Suite, next, await Mirror()], FetchLimit)).Checked();
            // It takes its name when it is whole: a fetch that was killed is not taken for a tree.
            Directory.Move(next, tree);
            return tree;
        }
        finally
        {
            if (Directory.Exists(next))
            {
                Directory.Delete(next, recursive: true);
            }
        }
    }

    /// <summary>Where this machine's own packages come from, if that is a Debian mirror.</summary>
    private static async Task<string> Mirror()
    {
        var sources = await Command.Run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
        return sources.Output.Split('\n').FirstOrDefault(uri => uri.TrimEnd('/').EndsWith("/debian", StringComparison.Ordinal))
            ?? "http://deb.debian.org/debian";
    }
}
