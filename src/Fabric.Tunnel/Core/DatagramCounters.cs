using System.Collections.Immutable;

namespace Fabric.Tunnel.Core;

/// <summary>What became of datagrams, in the whole tunnel. Safe to call from any thread.</summary>
internal sealed class DatagramCounters
{
    private static readonly DatagramDrop[] _reasons = Enum.GetValues<DatagramDrop>();
    private readonly long[] _dropped = new long[_reasons.Length];
    private long _toEndpoints;
    private long _bytesToEndpoints;
    private long _toClients;
    private long _bytesToClients;
    private long _flows;

    public void Drop(DatagramDrop reason, int count = 1)
    {
        if (count > 0)
        {
            Interlocked.Add(ref _dropped[(int)reason], count);
        }
    }

    public long Dropped(DatagramDrop reason) => Interlocked.Read(ref _dropped[(int)reason]);

    public void FlowBegan() => Interlocked.Increment(ref _flows);

    public void ToEndpoint(int bytes)
    {
        Interlocked.Increment(ref _toEndpoints);
        Interlocked.Add(ref _bytesToEndpoints, bytes);
    }

    public void ToClient(int bytes)
    {
        Interlocked.Increment(ref _toClients);
        Interlocked.Add(ref _bytesToClients, bytes);
    }

    public DatagramStatus Status(int flows, string lastOversize) => new(
        flows, Interlocked.Read(ref _flows), Interlocked.Read(ref _toEndpoints), Interlocked.Read(ref _bytesToEndpoints),
        Interlocked.Read(ref _toClients), Interlocked.Read(ref _bytesToClients),
        _reasons.ToImmutableSortedDictionary(r => r, Dropped), lastOversize);
}
