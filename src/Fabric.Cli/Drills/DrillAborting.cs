using System.Globalization;
using Fabric.Drills.Running;
using Fabric.Protocol.Grpc;

namespace Fabric.Cli.Drills;

/// <summary><c>fabric drill abort</c>, from whatever host: by the gateway there, which passes on.</summary>
internal static class DrillAborting
{
    public static async Task<int> RunAsync(
        CliHost host, string socket, string? run, bool all, string history, string topology, CancellationToken ct)
    {
        var id = all ? "" : run ?? DrillLock.Holder(history)
            ?? throw new CliException(ExitCode.Failure, "no run of this host is known to be under way", "name one, or put back whatever is in force by --all");
        using var admin = new AdminApi(host, socket);
        if (all || id == DrillLock.Holder(history))
        {
            // A controller that lives would go on with what is left of it.
            DrillLock.AskToStop(history);
        }

        IReadOnlyList<AbortAnswer> answers;
        try
        {
            answers = await DrillAbort.RunAsync(new FabricClient(admin.Client), id, Gateways(topology), host.Time, ct);
        }
        catch (GrpcException e)
        {
            throw admin.Explain(e);
        }

        foreach (var answer in answers)
        {
            host.Out.WriteLine($"{answer.Gateway}: " + (answer.Problem.Length > 0 ? $"NOT REVERTED: {answer.Problem}; {Until(answer)}"
                : answer.Reverted.Count == 0 ? "nothing was in force" : $"reverted {string.Join(", ", answer.Reverted)}"));
        }

        if (answers.Any(a => a.Problem.Length > 0))
        {
            return ExitCode.NotReverted;
        }

        Forget(history, id, all);
        return ExitCode.Ok;
    }

    /// <summary>A run whose process is gone is named no more; one that lives ends by itself.</summary>
    private static void Forget(string history, string id, bool all)
    {
        if (DrillLock.Holder(history) is { } last && (all || last == id))
        {
            using var taken = DrillLock.TryTake(history, last, out _);
            taken?.Done();
        }
    }

    /// <summary>The longest lease is an hour: what cannot be asked has nothing in force after that.</summary>
    private static string Until(AbortAnswer answer) => answer.Until is { } until
        ? string.Create(CultureInfo.InvariantCulture, $"its leases end by themselves by {until.UtcDateTime:HH:mm:ss} UTC")
        : "what is in force there ends by itself with its lease, within an hour of its beginning";

    /// <summary>Those of the topology on disk, where there is one: the own gateway may not know all.</summary>
    private static IEnumerable<string> Gateways(string path)
    {
        try
        {
            return [.. TopologyFiles.Load(path).Sites.SelectMany(s => s.Gateways).Select(g => g.Name)];
        }
        catch (Exception e) when (e is CliException or IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
