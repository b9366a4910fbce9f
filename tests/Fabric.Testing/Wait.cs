using System.Diagnostics;

namespace Fabric.Testing;

/// <summary>Waits for what another thread brings about, and says what did not come.</summary>
public static class Wait
{
    /// <summary>Generous, for machines that do other things as well. A test that passes never waits for all of it.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>Returns when the condition holds; throws <see cref="TimeoutException"/> with <paramref name="what"/> after <see cref="Limit"/>.</summary>
    public static async Task UntilAsync(Func<bool> condition, Func<string> what)
    {
        for (var since = Stopwatch.StartNew(); !condition(); await Task.Delay(10))
        {
            if (since.Elapsed > Limit)
            {
                throw new TimeoutException($"not within {Limit.TotalSeconds:0} s: {what()}");
            }
        }
    }
}
