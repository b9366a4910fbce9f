using System.Runtime.CompilerServices;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Faults;

/// <summary>
/// What happened at this gateway: the last 10,000 events, with the time of its clock, which rises from one to the next. Whoever adds one
/// waits for nobody. Any thread.
/// </summary>
internal sealed class GatewayEvents(string gateway, TimeProvider time, int capacity = GatewayEvents.Capacity)
{
    public const int Capacity = 10_000;

    private readonly Lock _lock = new();
    private readonly Queue<GatewayEvent> _kept = new();
    private TaskCompletionSource _more = NewSignal();
    private long _last;
    private long _forgotten;

    /// <summary>Microseconds since 1970, UTC.</summary>
    public long Now => (time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    /// <summary>Gateway and time are filled in.</summary>
    public void Add(GatewayEvent happened)
    {
        TaskCompletionSource signal;
        lock (_lock)
        {
            happened.Gateway = gateway;
            // Two of one microsecond, or a clock that steps back: who reads from the last one on misses none.
            happened.TimeUnixUs = _last = Math.Max(Now, _last + 1);
            _kept.Enqueue(happened);
            while (_kept.Count > capacity)
            {
                _kept.Dequeue();
                _forgotten++;
            }

            (signal, _more) = (_more, NewSignal());
        }

        signal.TrySetResult();
    }

    /// <summary>Those from that time on (microseconds since 1970), then others as they come. A reader that is 10,000 behind misses the oldest.</summary>
    public async IAsyncEnumerable<GatewayEvent> WatchAsync(long since, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long next = 0;
        while (true)
        {
            List<GatewayEvent> batch;
            Task more;
            lock (_lock)
            {
                batch = [.. _kept.Skip((int)Math.Max(0, next - _forgotten)).Where(e => e.TimeUnixUs >= since)];
                next = _forgotten + _kept.Count;
                more = _more.Task;
            }

            foreach (var happened in batch)
            {
                yield return happened;
            }

            await more.WaitAsync(cancellationToken);
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
