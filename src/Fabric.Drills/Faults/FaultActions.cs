using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Drills.Faults;

/// <summary>
/// Injects faults through the admin API of a gateway that was started with <c>--allow-faults</c>, and takes them back.
/// </summary>
public sealed class FaultActions(GrpcClient admin, TimeProvider time)
{
    /// <summary>The longest that a fault may be asked to last.</summary>
    public static readonly TimeSpan MaxDuration = TimeSpan.FromMinutes(10);

    private const int RevertAttempts = 5;
    private static readonly GrpcCallOptions CallOptions = new() { Timeout = TimeSpan.FromSeconds(3) };

    /// <summary>
    /// Injects a fault, in place of any that is on the link; it lasts until the result is disposed, at most
    /// <paramref name="limit"/>. Throws <see cref="GrpcException"/> when the gateway refuses or cannot be asked; whatever may
    /// have been done by then is reverted.
    /// </summary>
    /// <param name="limit">More than nothing and at most <see cref="MaxDuration"/>; it ends then even if the drill hangs.</param>
    public async Task<ActiveFault> InjectAsync(LinkFault fault, TimeSpan limit, CancellationToken cancellationToken)
    {
        if (limit <= TimeSpan.Zero || limit > MaxDuration)
        {
            throw new ArgumentOutOfRangeException(
                nameof(limit),
                limit,
                $"a fault lasts more than nothing and at most {MaxDuration}: split the drill if it needs longer");
        }

        // Shows that the gateway can be asked and allows it before anything is broken, and starts from a whole link.
        await ClearAsync(fault.Link, fault.Peer, cancellationToken);
        try
        {
            await SetAsync(fault, NameOf(fault.Kind), cancellationToken);
        }
        catch
        {
            // Cancelled or unanswered, it may have been done.
            await RevertAsync(fault);
            throw;
        }

        return new ActiveFault(fault, limit, () => RevertAsync(fault), time);
    }

    /// <summary>Clears whatever fault is on a link: for what an earlier drill may have left.</summary>
    public Task ClearAsync(string link, string peer, CancellationToken cancellationToken) =>
        SetAsync(new LinkFault(link, peer), "", cancellationToken);

    /// <summary>Takes no cancellation: a drill that is cancelled must still clean up. Bounded: 23 s in all.</summary>
    private async Task RevertAsync(LinkFault fault)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await SetAsync(fault, "", CancellationToken.None);
                return;
            }
            catch (GrpcException e) when (e.Status == GrpcStatus.NotFound)
            {
                // The link is gone from the topology, and its fault with it.
                return;
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                if (attempt == RevertAttempts)
                {
                    throw new FaultNotRevertedException(fault, e);
                }

                await Task.Delay(TimeSpan.FromMilliseconds(250 * (1 << attempt)), time, CancellationToken.None);
            }
        }
    }

    private async Task SetAsync(LinkFault fault, string name, CancellationToken cancellationToken)
    {
        var request = new SetFaultRequest { Link = fault.Link, Peer = fault.Peer, Fault = name };
        await admin.UnaryAsync(AdminMethods.SetFault, request, CallOptions, cancellationToken);
    }

    internal static string NameOf(FaultKind kind) => kind switch
    {
        FaultKind.Cut => "cut",
        FaultKind.CutIn => "cut-in",
        FaultKind.CutOut => "cut-out",
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "a fault is Cut, CutIn or CutOut"),
    };
}
