using System.Collections.Immutable;
using System.Net.Sockets;

namespace Fabric.Gateway.Lan;

/// <summary>How it is on one interface.</summary>
/// <param name="Name">The interface.</param>
/// <param name="Problem">Why nothing is done there; empty: it is.</param>
/// <param name="AnnouncedAs">The name that others see; empty: none.</param>
/// <param name="Dropped">What was not read or kept because of a limit.</param>
internal sealed record LanState(string Name, string Problem, string AnnouncedAs, long Dropped);

/// <summary>
/// Multicast DNS on the interfaces that the topology names: each as long as it is there, and anew when its addresses change, which is looked
/// at each <see cref="Look"/>. Disposal says goodbye.
/// </summary>
internal sealed class LanDiscovery : IAsyncDisposable
{
    public static readonly TimeSpan Look = TimeSpan.FromSeconds(5);

    private readonly TimeProvider _time;
    private readonly Action _changed;
    private readonly Random _random;
    private readonly SemaphoreSlim _wished = new(0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<string, string> _problems = [];
    private ImmutableDictionary<string, LanLink> _links = ImmutableDictionary<string, LanLink>.Empty;
    private ImmutableArray<string> _interfaces = [];
    private LanWishes _wishes = new(null, []);
    private Task? _looking;

    /// <param name="time">The clock.</param>
    /// <param name="random">For delays.</param>
    /// <param name="changed">Called, from any thread, when <see cref="Found"/> may be another.</param>
    public LanDiscovery(TimeProvider time, Random random, Action changed) => (_time, _random, _changed) = (time, random, changed);

    /// <summary>Services heard on all interfaces.</summary>
    public ImmutableArray<LanService> Found => [.. Links.Values.SelectMany(l => l.Found)];

    /// <summary>In the order of the topology.</summary>
    public ImmutableArray<LanState> States
    {
        get
        {
            var links = Links;
            lock (_problems)
            {
                return [.. _interfaces.Select(i => links.TryGetValue(i, out var link) ? new LanState(i, link.Fault, link.AnnouncedAs, link.Dropped)
                    : new LanState(i, _problems.GetValueOrDefault(i, "not looked at yet"), "", 0))];
            }
        }
    }

    private ImmutableDictionary<string, LanLink> Links => Volatile.Read(ref _links);

    /// <summary>From now on these interfaces and wishes; what stays the same goes on undisturbed. Sockets follow later, on the thread pool. Where
    /// nothing was ever wished for nothing is done.</summary>
    public void Follow(ImmutableArray<string> interfaces, LanWishes wishes)
    {
        lock (_problems)
        {
            if (interfaces.IsEmpty && _interfaces.IsEmpty && _looking is null)
            {
                return;
            }

            (_interfaces, _wishes) = (interfaces, wishes);
            _looking ??= Task.Run(KeepLookingAsync);
            _wished.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await (_looking ?? Task.CompletedTask);
        foreach (var link in Links.Values)
        {
            await link.DisposeAsync();
        }

        Volatile.Write(ref _links, ImmutableDictionary<string, LanLink>.Empty);
    }

    private async Task KeepLookingAsync()
    {
        LanWishes? followed = null;
        while (!_stop.IsCancellationRequested)
        {
            LanWishes wishes;
            ImmutableArray<string> interfaces;
            lock (_problems)
            {
                (interfaces, wishes) = (_interfaces, _wishes);
            }

            await LookAsync(interfaces, wishes, again: wishes != followed);
            followed = wishes;
            await ((Task)_wished.WaitAsync(Look, _stop.Token)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task LookAsync(ImmutableArray<string> interfaces, LanWishes wishes, bool again)
    {
        var changed = false;
        foreach (var (name, link) in Links)
        {
            if (again || !interfaces.Contains(name) || link.Networks != LanNetworks.Of(name))
            {
                ImmutableInterlocked.TryRemove(ref _links, name, out _);
                await link.DisposeAsync();
                changed = true;
            }
        }

        foreach (var name in interfaces.Where(i => !Links.ContainsKey(i)))
        {
            var problem = Open(name, wishes);
            changed |= problem.Length == 0;
            lock (_problems)
            {
                _problems[name] = problem;
            }
        }

        if (changed)
        {
            _changed();
        }
    }

    private string Open(string name, LanWishes wishes)
    {
        var networks = LanNetworks.Of(name);
        if (networks == LanNetworks.None)
        {
            return "there is no such interface, or it has no address";
        }

        try
        {
            var link = new LanLink(name, networks, wishes, _time, new Random(_random.Next()), _changed);
            ImmutableInterlocked.TryAdd(ref _links, name, link);
            return "";
        }
        catch (SocketException e)
        {
            return $"multicast DNS cannot be had there: {e.Message}";
        }
    }
}
