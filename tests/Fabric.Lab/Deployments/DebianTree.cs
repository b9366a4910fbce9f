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

    // What the unit needs, what scripts/vagrant.sh would install, and ip; then the resolvers, of which the last is what NetworkManager needs and
    // debootstrap does not find by itself: a package of another name. One tree for all: to fetch a second takes longer than what is tested on it.
    private const string Packages = "systemd,systemd-sysv,dbus,ca-certificates,libssl3,iproute2,wireguard-go,wireguard-tools,"
        + "systemd-resolved,dnsmasq-base,network-manager,libpam-systemd";

    private static readonly TimeSpan FetchLimit = TimeSpan.FromMinutes(10);

    /// <summary>Absolute path of the tree.</summary>
    public static async Task<string> Ensure()
    {
        var key = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{Suite} {Packages}")))[..8];
        var tree = $"/var/cache/fabric-lab/{Suite}-{key}";
        if (Directory.Exists(tree))
        {
            return tree;
        }

        var next = $"{tree}.{Environment.ProcessId}";
        Directory.CreateDirectory(next);
        try
        {
            (await Command.Run(["debootstrap", "--variant=minbase", $"--include={Packages}", Suite, next, await Mirror()], FetchLimit)).Checked();
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
