using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Cli.Trust;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Trust;
using Fabric.Protocol.Proto;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric trust status|renew|rotate</c>: whom the mesh trusts. The authority's folder says what is to be, its gateway how far the others
/// have come; between the two a rotation goes on, step by step, and from wherever it was left.
/// </summary>
internal static class TrustCommand
{
    private static readonly TimeSpan DefaultLimit = TimeSpan.FromMinutes(2);

    public static Command Create(CliHost host) => new("trust", "Roots, certificates and who has which of them")
    {
        Status(host), Renew(host), Rotate(host),
    };

    internal static Option<string> Ca(CliHost host) => CommonOptions.Path(host, "--ca", "FABRIC_CA", CommonOptions.DefaultCa,
        "Folder of the mesh's authority");

    /// <summary>The authority's folder; says what is missing where there is none.</summary>
    internal static TrustAuthority Open(CliHost host, string ca)
    {
        try
        {
            return TrustAuthority.Open(ca, host.Time);
        }
        catch (FileNotFoundException e)
        {
            throw new CliException(ExitCode.Failure, e.Message, "run this where `fabric init` was run, or name its folder by --ca");
        }
    }

    /// <summary>A folder that was restored, or copied, does not know what its gateway knows: what it signed next would be refused.</summary>
    internal static void IsNewest(TrustAuthority authority, string ca, Status status)
    {
        if (status.Trust?.Version > (authority.Current?.Version ?? 0))
        {
            throw new CliException(ExitCode.Failure, $"{ca} has version {authority.Current?.Version ?? 0} of the trust document, and its gateway version {status.Trust.Version}",
                $"put {TrustFile.Name} of the gateway's identity folder there, which is the same document");
        }
    }

    /// <summary>What needs the root's key fails with what to put where.</summary>
    internal static T Signed<T>(Func<T> change)
    {
        try
        {
            return change();
        }
        catch (JoinException e)
        {
            throw new CliException(ExitCode.Failure, e.Message);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException)
        {
            throw new CliException(ExitCode.Usage, e.Message);
        }
    }

    private static Command Status(CliHost host)
    {
        var (output, socket) = (CommonOptions.Output("table", "json", "yaml"), CommonOptions.Socket(host));
        var command = new Command("status", "Roots, intermediates, and how far each gateway has come") { output, socket };
        command.SetAction(async (result, ct) =>
        {
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var status = await new Followers(host, admin).StatusAsync(ct);
            var format = result.GetRequiredValue(output);
            host.Out.WriteLine(format == "table" ? TrustTable.Render(status, host)
                : Documents.Write(Documents.Of(status.Trust ?? new TrustStatus()), format));
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Renew(CliHost host)
    {
        var (ca, socket, limit) = (Ca(host), CommonOptions.Socket(host), Limit());
        var command = new Command("renew", "Have every gateway renew its certificate at once") { ca, socket, limit };
        command.SetAction(async (result, ct) =>
        {
            var authority = Open(host, result.GetRequiredValue(ca));
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var followers = new Followers(host, admin);
            IsNewest(authority, result.GetRequiredValue(ca), await followers.StatusAsync(ct));
            var document = Signed(authority.Renew);
            await followers.PublishAsync(document, ct);

            // Leaves begin five minutes in the past, in whole seconds.
            var from = document.RenewBefore!.Value.ToUnixTimeSeconds() - 300;
            var late = await followers.WaitAsync(r => r.LeafBegins >= from,
                r => $"has a certificate of {TrustTable.Time(r.LeafBegins)}", result.GetValue(limit) ?? DefaultLimit, onlyHeard: false, ct);
            host.Error.WriteLine(late.Count == 0 ? "Renewed: every gateway has a new certificate." : $"Asked for; not done yet:\n{Lines(late)}");
            return late.Count == 0 ? ExitCode.Ok : ExitCode.NotEverywhere;
        });
        return command;
    }

    private static Command Rotate(CliHost host)
    {
        var (ca, socket, limit, topology) = (Ca(host), CommonOptions.Socket(host), Limit(), CommonOptions.Topology(host));
        var command = new Command("rotate", "Put a new root in the old one's place, step by step; goes on where it was left")
        {
            ca, socket, limit, topology,
        };
        command.SetAction(async (result, ct) =>
        {
            var authority = Open(host, result.GetRequiredValue(ca));
            var sites = TopologyFiles.Load(result.GetRequiredValue(topology)).Sites.Select(s => s.Name).ToList();
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));
            var followers = new Followers(host, admin);
            IsNewest(authority, result.GetRequiredValue(ca), await followers.StatusAsync(ct));
            return await Rotate(host, authority, sites, followers, result.GetValue(limit) ?? DefaultLimit, ct);
        });
        return command;
    }

    /// <summary>
    /// Every step is taken only when all gateways have come as far as the one before: none is left behind that would not know whom it talks to.
    /// </summary>
    private static async Task<int> Rotate(
        CliHost host, TrustAuthority authority, List<string> sites, Followers followers, TimeSpan limit, CancellationToken ct)
    {
        var resumed = Rotation.UnderWay(authority) is not null;
        var rotation = Signed(() => Rotation.Begin(authority, sites));
        host.Error.WriteLine($"{(resumed ? $"Going on with the rotation of {rotation.Started:u}" : "A new root is made")}: {rotation.New[..12]} in {rotation.Folder} takes the place of {rotation.Old[..12]}.");
        var root = Google.Protobuf.ByteString.CopyFrom(Convert.FromHexString(rotation.New));
        (RotationStep Step, string Done, Func<GatewayTrust, bool> Has, Func<GatewayTrust, string> Lacks)[] steps =
        [
            (RotationStep.Introduce, "every gateway trusts both roots", r => r.Roots.Contains(root), _ => "does not trust the new root"),
            (RotationStep.Reissue, "every certificate is under the new root", r => r.LeafRoot.Equals(root) && r.OldLanes == 0,
                r => r.LeafRoot.Equals(root) ? $"has {r.OldLanes} lanes of before" : "has a certificate under the old root"),
            (RotationStep.Withdraw, "nobody trusts the old root any more", r => r.Roots.All(root.Equals), _ => "still trusts the old root"),
        ];
        foreach (var (step, done, has, lacks) in steps)
        {
            var document = Signed(() => rotation.Take(step));
            await followers.PublishAsync(document, ct);
            // What was said before a gateway had this document says nothing of it, however late it is handed on.
            var late = await followers.WaitAsync(r => has(r) && r.Version >= document.Version,
                r => has(r) ? $"has version {r.Version} of the trust document, and this is version {document.Version}" : lacks(r), limit, onlyHeard: false, ct);
            if (late.Count > 0)
            {
                throw new CliException(ExitCode.NotEverywhere,
                    $"the rotation waits at \"{step.ToString().ToLowerInvariant()}\" and goes no further, because of:\n{Lines(late)}",
                    "bring them up, or evict them, or take them out of the topology; then run `fabric trust rotate` again: it goes on from here");
            }

            host.Error.WriteLine($"{(int)step + 1} of {steps.Length}: {done}.");
        }

        rotation.Finish();
        host.Error.WriteLine($"Done. Take root.key away from {rotation.Folder}; the key of {rotation.Old[..12]} is worth nothing now. "
            + "Join tokens from before are void.");
        return ExitCode.Ok;
    }

    private static string Lines(IEnumerable<string> late) => string.Join('\n', late.Select(l => "  " + l));

    private static Option<TimeSpan?> Limit() => CommonOptions.Duration("--limit", "How long to wait for the gateways, at each step. Default: 2m");
}
