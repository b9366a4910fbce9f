using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>
/// Keeps the plan: makes it of the rules and of resolv.conf, again when either changes, and probes upstreams that are due. An upstream that stays
/// keeps what is known of it. Nothing is sent to one that no query was forwarded to.
/// </summary>
internal sealed class DnsUpstreamWatch : IAsyncDisposable
{
    private const int FileTurns = 20;
    private static readonly TimeSpan _turn = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan _probeLimit = TimeSpan.FromSeconds(2);

    private readonly TimeProvider _time;
    private readonly Action<DnsForwardPlan> _changed;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly Task _running;
    private DnsForwardRules? _rules;
    private DnsForwardPlan _plan = DnsForwardPlan.Empty;
    private ImmutableArray<IPEndPoint> _file = [];

    /// <param name="time">For the turns.</param>
    /// <param name="changed">Called with a new plan, by one caller at a time.</param>
    public DnsUpstreamWatch(TimeProvider time, Action<DnsForwardPlan> changed)
    {
        (_time, _changed) = (time, changed);
        _running = Task.Run(RunAsync);
    }

    /// <param name="rules">Null: those that it follows, by the file as it is now.</param>
    public void Follow(DnsForwardRules? rules)
    {
        lock (_lock)
        {
            rules ??= _rules;
            if (rules is null)
            {
                return;
            }

            var file = rules.ResolvConf is { } path ? ResolvConf.Read(path) : [];
            if (_rules is not null && _rules.Equals(rules) && _file.SequenceEqual(file))
            {
                return;
            }

            var known = _plan.Upstreams.ToDictionary(u => u.Server);
            DnsUpstream Upstream(IPEndPoint server)
            {
                if (!known.TryGetValue(server, out var upstream))
                {
                    known.Add(server, upstream = new DnsUpstream(server, _time));
                }

                return upstream;
            }

            (_rules, _file) = (rules, file);
            _plan = DnsForwardPlan.Of(rules, file, Upstream);
            _changed(_plan);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        var probes = new HashSet<Task>();
        for (var turn = 1; !_stop.IsCancellationRequested; turn++)
        {
            await Task.Delay(_turn, _time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (turn % FileTurns == 0)
            {
                Follow(null);
            }

            probes.RemoveWhere(p => p.IsCompleted);
            foreach (var upstream in Volatile.Read(ref _plan).Upstreams)
            {
                if (upstream.TakeProbe() is { } name)
                {
                    probes.Add(ProbeAsync(upstream, name));
                }
            }
        }

        await Task.WhenAll(probes);
    }

    private async Task ProbeAsync(DnsUpstream upstream, DnsName name)
    {
        byte[] question = [.. name.Wire, 0, (byte)DnsType.A, 0, (byte)DnsClass.Internet];
        using var late = new CancellationTokenSource(_probeLimit, _time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(late.Token, _stop.Token);
        var answer = await DnsUpstreamRace.TryAsync(upstream, DnsForwardQuery.Create(question, false, false), _time, stop.Token);
        if (answer.Response is not null || answer.SomeoneAnswered)
        {
            upstream.Probed(name);
        }
        else if (late.IsCancellationRequested)
        {
            upstream.Failed("it does not answer probes");
        }
    }
}
