using System.Text.RegularExpressions;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;

namespace Fabric.Lab.Deployments;

/// <summary>
/// fabricd as a container's runtime starts it for the DaemonSet: another user than root, two powers in the bounding and in the permitted set, no new
/// privileges. Whether any of that reaches the program is for its file to say.
/// </summary>
public sealed partial class KubernetesPowersTests
{
    private const string Powers = "cap_net_admin,cap_net_bind_service";

    /// <summary>Bits 10 and 12.</summary>
    private const string TheTwo = "0000000000001400";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    [RequiresFact("root", "capsh", "setcap", "setpriv", "unshare", "ip")]
    public async Task A_user_that_is_not_root_binds_53_and_sets_a_route_by_the_powers_of_the_file()
    {
        var manifest = await File.ReadAllTextAsync(Path.Combine(Programs.Repository, "scripts/kubernetes/base/daemonset.yaml"));
        var user = UserLine().Match(manifest).Groups[1].Value;
        await using var work = await WorkFolder.Take();
        Traversable(work.Of());
        var built = Programs.Find();
        var image = work.Of("image");
        await Command.Do("cp", "-r", Path.GetDirectoryName(built.Fabricd)!, image);
        await Command.Do("chmod", "-R", "a+rX", image);
        var programs = built with { Fabricd = Path.Combine(image, "fabricd") };
        await Command.Do("setcap", $"{Powers}=ep", programs.Fabricd);
        var others = (await Command.Do("capsh", $"--decode={await Field("self", "CapBnd")}")).Split('=')[1].Trim().Split(',').Where(c => !Powers.Contains(c, StringComparison.Ordinal));
        string[] AsThere(params string[] argv) =>
        [
            "unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", "setpriv", "--clear-groups", "capsh",
            $"--drop={string.Join(',', others.OrderBy(c => c == "cap_setpcap"))}", "--keep=1", $"--gid={user}", $"--uid={user}", $"--caps={Powers}=ep", "--no-new-privs",
            $"--shell={argv[0]}", "--", .. argv[1..],
        ];

        var contained = false;
        var mesh = new Mesh(work, programs);
        await using var paris = new GatewayProcess(work, "paris", programs, argv => contained ? AsThere(argv) : argv, ["--wireguard", "off"]) { Ca = mesh.Ca };
        await mesh.Init("acme.example", """
            fabric: 1
            trustDomain: acme.example
            sites:
              - name: paris
                serviceAddresses: 10.201.0.0/16
                gateways: [ { name: paris-1, listen: [ 127.0.0.1 ], dns: "127.0.0.1:53", dashboard: off } ]

            """);
        await mesh.Join(paris, "127.0.0.1:7443");
        await Command.Do("chown", "-R", $"{user}:{user}", work.Of("paris"), work.Of("mesh"));
        contained = true;

        // Another program of the image gets none of it.
        Assert.Contains("CapEff:\t0000000000000000", (await Command.Run(AsThere("/bin/cat", "/proc/self/status"))).Checked().Output);

        paris.Start();
        var status = await paris.Ready(Limit);
        var pid = $"{paris.Pid}";
        Assert.Equal($"{user}\t{user}\t{user}\t{user}", await Field(pid, "Uid"));
        Assert.Equal((TheTwo, TheTwo, "1"), (await Field(pid, "CapEff"), await Field(pid, "CapBnd"), await Field(pid, "NoNewPrivs")));
        Assert.Empty(status.Problems);
        Assert.Contains("10.201.0.0", await File.ReadAllTextAsync($"/proc/{pid}/net/fib_trie"));
        Assert.Contains("0100007F:0035", await File.ReadAllTextAsync($"/proc/{pid}/net/udp"));
    }

    private static async Task<string> Field(string process, string name) =>
        (await File.ReadAllLinesAsync($"/proc/{process}/status")).Single(l => l.StartsWith($"{name}:", StringComparison.Ordinal))[(name.Length + 1)..].Trim();

    private static void Traversable(string folder) => File.SetUnixFileMode(folder, File.GetUnixFileMode(folder)
        | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);

    [GeneratedRegex(@"runAsUser: ([1-9]\d*)")]
    private static partial Regex UserLine();
}
