using System.Net;
using System.Net.Sockets;
using Fabric.Drills.Definition;

namespace Fabric.Drills.Measurement;

/// <summary>Makes a socket; where the sockets of a probe shall live in another network namespace, there.</summary>
public delegate Socket OpenSocket(AddressFamily family, SocketType type, ProtocolType protocol);

/// <summary>The loads by their kind.</summary>
public static class ProbeLoads
{
    /// <param name="plan">Refused with <see cref="ArgumentException"/> when its numbers are outside of what <see cref="ProbePlan"/> says.</param>
    /// <param name="target">Where the service answers, as an application sees it.</param>
    /// <param name="dnsServer">Who is asked; for dns only.</param>
    /// <param name="dnsName">The service's name: what dns asks for, and the Host of http.</param>
    /// <param name="time">All loads of a drill, its collector and its controller should share one <see cref="SteadyTime"/>.</param>
    public static IProbeLoad Create(
        ProbePlan plan, IPEndPoint target, IPEndPoint? dnsServer, string dnsName, TimeProvider time, OpenSocket? open = null)
    {
        Check(plan);
        var steady = SteadyTime.Of(time);
        open ??= static (family, type, protocol) => new Socket(family, type, protocol);
        return plan.Kind switch
        {
            "connect" => new ConnectLoad(plan, target, steady, open),
            "live" => new LiveLoad(plan, target, steady, open),
            "bulk" => new BulkLoad(plan, target, steady, open),
            "http" => new HttpLoad(plan, target, dnsName, steady, open),
            "dns" => new DnsLoad(plan, dnsServer ?? throw new ArgumentNullException(nameof(dnsServer)), dnsName, steady, open),
            _ => throw new ArgumentException($"probe {plan.Name}: there is no kind '{plan.Kind}'; write connect, live, bulk, http or dns"),
        };
    }

    private static void Check(ProbePlan plan)
    {
        Require(plan.PerSecond is >= 1 and <= 1000 || plan.Kind == "bulk", $"perSecond is 1 to 1,000, not {plan.PerSecond}");
        Require(plan.Connections is >= 1 and <= 64 || plan.Kind is "connect" or "dns", $"connections is 1 to 64, not {plan.Connections}");
        Require(plan.Bytes is >= 1 and <= Responder.MaxStream || plan.Kind != "bulk", $"bytes is 1 to {Responder.MaxStream}, not {plan.Bytes}");
        Require(plan.Timeout >= TimeSpan.FromMilliseconds(1) && plan.Timeout <= TimeSpan.FromMinutes(10),
            $"timeout is 1 ms to 10 minutes, not {plan.Timeout}");

        void Require(bool holds, string rule)
        {
            if (!holds)
            {
                throw new ArgumentException($"probe {plan.Name}: {rule}");
            }
        }
    }
}
