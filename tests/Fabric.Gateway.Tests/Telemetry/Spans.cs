using System.Collections.Concurrent;
using System.Diagnostics;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Telemetry;

/// <summary>Spans of all gateways of this process, as they end. Other tests may run beside: ask for those of a trace.</summary>
internal sealed class Spans : IDisposable
{
    private readonly ConcurrentQueue<Activity> _ended = new();
    private readonly ActivityListener _listener;

    public Spans()
    {
        _listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == Gateway.Telemetry.Traces.Spans.SourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = _ended.Enqueue,
        };
        ActivitySource.AddActivityListener(_listener);
    }

    public IReadOnlyCollection<Activity> All => _ended;

    /// <summary>The first that ended and is so.</summary>
    public async Task<Activity> OneAsync(string what, Func<Activity, bool> holds)
    {
        Activity? found = null;
        await Wait.UntilAsync(() => (found = _ended.FirstOrDefault(holds)) is not null,
            () => $"{what}; there are: {string.Join("; ", _ended.Select(Text))}");
        return found!;
    }

    public static string? Tag(Activity span, string name) => span.GetTagItem(name)?.ToString();

    public static string Text(Activity span) => $"{span.OperationName} of {Tag(span, "fabric.service")} in {Tag(span, "fabric.site")}"
        + $" ({string.Join(", ", span.TagObjects.Where(t => t.Key is "fabric.link" or "fabric.from" or "fabric.to").Select(t => t.Value).Concat(span.Events.Select(e => e.Name)))})";

    public void Dispose() => _listener.Dispose();
}
