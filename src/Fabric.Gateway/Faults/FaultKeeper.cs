using System.Globalization;
using Fabric.Gateway.Telemetry;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Faults;

/// <summary>
/// The faults in force at this gateway. Each has a lease on the disk before it is applied, and ends by itself: when its time is up, when its
/// drill was not renewed, when it is asked to, or when the process ends. What could not be taken back is tried again every second, and said.
/// </summary>
internal sealed class FaultKeeper : IAsyncDisposable
{
    public const int MaxInForce = 64;
    private const int MaxReverted = 100;
    private static readonly TimeSpan _listed = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan _again = TimeSpan.FromSeconds(1);

    private readonly string _gateway;
    private readonly LeaseFolder _leases;
    private readonly IReadOnlyList<IFaultMeans> _means;
    private readonly GatewayEvents _events;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly SemaphoreSlim _one = new(1);
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Held> _held = new(StringComparer.Ordinal);
    private readonly Queue<(long At, FaultState State)> _reverted = new();
    private readonly CancellationTokenSource _stop = new();

    /// <param name="means">In the order in which "auto" takes them.</param>
    public FaultKeeper(string gateway, LeaseFolder leases, IReadOnlyList<IFaultMeans> means, GatewayEvents events, TimeProvider time, ILogger log) =>
        (_gateway, _leases, _means, _events, _time, _log) = (gateway, leases, means, events, time, log);

    /// <summary>What an earlier process left, and this one cannot take back yet; null: nothing.</summary>
    public LeftFaults? Left { get; init; }

    /// <summary>For status: what is in force, and what could not be taken back.</summary>
    public IEnumerable<string> Problems
    {
        get
        {
            lock (_lock)
            {
                return [.. _held.Values.Select(h => h.Failure.Length > 0 ? $"fault {h.Fault.Id} ({h.Fault.Kind}) of drill {h.Fault.Drill} could not be reverted: {h.Failure}"
                    : $"fault {h.Fault.Id} ({h.Fault.Kind}) of drill {h.Fault.Drill} is in force by {h.Prepared.Means}")];
            }
        }
    }

    /// <summary>What this gateway can do, and what it has in force or had lately.</summary>
    public FaultList List()
    {
        var list = new FaultList { Gateway = _gateway, NowUnixUs = _events.Now };
        lock (_lock)
        {
            Forget();
            list.Faults.Add(_held.Values.OrderBy(h => h.AppliedUs).Select(h => State(h)));
            list.Faults.Add(_reverted.Select(r => r.State));
        }

        list.Faults.Add(Left?.InForce ?? []);

        list.Abilities.Add(FaultKind.All.Select(Ability));
        return list;
    }

    /// <summary>Answers when it is in force. Throws <see cref="GrpcException"/> as <c>faults.proto</c> says; then nothing of it is left.</summary>
    public async Task<FaultList> ApplyAsync(FaultSpec? asked)
    {
        var fault = FaultRules.Check(asked);
        await _one.WaitAsync(_stop.Token);
        try
        {
            Room(fault);
            var (means, prepared) = await PrepareAsync(fault);
            await ApplyAsync(fault, means, prepared);
        }
        finally
        {
            _one.Release();
        }

        return List();
    }

    /// <summary>Empty: all drills.</summary>
    public FaultList Renew(string drill)
    {
        var now = _time.GetTimestamp();
        lock (_lock)
        {
            // One that was stopped may find renewals waiting when it goes on: they come too late.
            foreach (var held in _held.Values.Where(h => (drill.Length == 0 || h.Fault.Drill == drill) && !FaultKind.IsDeaf(h.Fault.Kind)))
            {
                held.Renewed = now;
            }
        }

        return List();
    }

    /// <summary>Empty: all drills. Answers when it was tried for each: what could not be reverted is in the list as such, and is tried again.</summary>
    public async Task<FaultList> RevertAsync(string drill)
    {
        foreach (var held in Snapshot(drill))
        {
            await RevertAsync(held, "asked");
        }

        if (Left is { } left)
        {
            await left.RevertAsync(drill);
        }

        return List();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        // One that is being applied yet is kept by then.
        await _one.WaitAsync();
        _one.Release();
        foreach (var held in Snapshot(""))
        {
            await RevertAsync(held, "restart");
        }
    }

    private List<Held> Snapshot(string drill)
    {
        lock (_lock)
        {
            return [.. _held.Values.Where(h => drill.Length == 0 || h.Fault.Drill == drill)];
        }
    }

    private void Room(FaultSpec fault)
    {
        var left = Left?.InForce ?? [];
        lock (_lock)
        {
            if (_held.ContainsKey(fault.Id) || left.Any(f => f.Fault.Id == fault.Id))
            {
                throw new GrpcException(GrpcStatus.AlreadyExists, $"a fault '{fault.Id}' is in force: each has an id of its own");
            }

            if (_held.Count + left.Count >= MaxInForce)
            {
                throw new GrpcException(GrpcStatus.ResourceExhausted, $"{MaxInForce} faults are in force, and no more may be: revert some");
            }
        }
    }

    private async Task<(IFaultMeans Means, PreparedFault Prepared)> PrepareAsync(FaultSpec fault)
    {
        var reasons = new List<string>();
        foreach (var means in _means.Where(m => fault.Means == "auto" || m.Name == fault.Means))
        {
            if (means.WhyNot(fault.Kind) is { } why)
            {
                reasons.Add($"by {means.Name}: {why}");
                continue;
            }

            if (means.Limit(fault.Kind) is { } limit && FaultRules.Longest(fault) > limit.Longest)
            {
                reasons.Add(string.Create(CultureInfo.InvariantCulture,
                    $"by {means.Name}: {FaultRules.Longest(fault).TotalSeconds:0.###} s are more than the {limit.Longest.TotalSeconds:0.###} s that it may last: {limit.Why}"));
                continue;
            }

            try
            {
                return (means, await means.PrepareAsync(fault));
            }
            catch (GrpcException e) when (e.Status == GrpcStatus.FailedPrecondition)
            {
                // This link cannot be done by these means; another may.
                reasons.Add($"by {means.Name}: {e.Detail}");
            }
        }

        throw new GrpcException(GrpcStatus.FailedPrecondition, $"{fault.Kind} cannot be done here: {string.Join("; ", reasons)}");
    }

    private async Task ApplyAsync(FaultSpec fault, IFaultMeans means, PreparedFault prepared)
    {
        var held = new Held(fault, prepared, _time.GetTimestamp());
        var duration = TimeSpan.FromMilliseconds(fault.DurationMs);
        var longest = FaultRules.Longest(fault);
        try
        {
            _leases.Write(new FaultLease(fault, means.Name, BootId.Current, _time.GetUtcNow() + longest, prepared.Detail));
            held.Watchdog = prepared.Undo.Count > 0 ? FaultWatchdog.Start(longest, prepared.Undo, _leases.Of(fault.Id)) : null;
            await prepared.ApplyAsync();
            held.AppliedUs = _events.Now;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw await UndoneAsync(held) ? new GrpcException(GrpcStatus.FailedPrecondition, $"{fault.Kind} could not be applied, and nothing of it is left: {e.Message}")
                : new GrpcException(GrpcStatus.Internal, $"{fault.Kind} could not be applied ({e.Message}), and what is left of it is taken back again and again: {held.Failure}");
        }

        Keep(held);

        Log.FaultApplied(_log, fault.Id, fault.Kind, fault.Drill, prepared.Means, duration);
        _events.Add(new GatewayEvent { Kind = "fault-applied", Link = fault.Link, Peer = fault.Peer, Service = fault.Service, Text = $"{fault.Id}: {fault.Kind} by {prepared.Means}" });
        prepared.Answered();
        _ = WatchAsync(held, duration);
    }

    private void Keep(Held held)
    {
        lock (_lock)
        {
            _held.Add(held.Fault.Id, held);
        }
    }

    /// <summary>What failed half way. When even this fails, its lease and its watchdog stay, and it is tried again.</summary>
    private async Task<bool> UndoneAsync(Held held)
    {
        try
        {
            await held.Prepared.RevertAsync();
            held.Watchdog?.Dispose();
            _leases.Remove(held.Fault.Id);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            NotReverted(held, e.Message);
            Keep(held);
            _ = WatchAsync(held, TimeSpan.Zero);
            return false;
        }
    }

    /// <summary>The life of one lease.</summary>
    private async Task WatchAsync(Held held, TimeSpan duration)
    {
        var renewWithin = TimeSpan.FromMilliseconds(held.Fault.RenewWithinMs);
        try
        {
            while (!held.IsOver)
            {
                var left = duration - _time.GetElapsedTime(held.Applied);
                var unheard = held.Fault.RenewWithinMs == 0 ? left : renewWithin - _time.GetElapsedTime(held.Renewed);
                if (left <= TimeSpan.Zero || unheard <= TimeSpan.Zero)
                {
                    await RevertAsync(held, left <= TimeSpan.Zero ? "duration" : "not-renewed");
                    left = unheard = _again;
                }

                if (!held.IsOver)
                {
                    // Timers count whole milliseconds and round down.
                    await Task.Delay((left < unheard ? left : unheard) + TimeSpan.FromMilliseconds(1), _time, _stop.Token);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The process ends, which reverts all.
        }
    }

    private async Task RevertAsync(Held held, string why)
    {
        await _one.WaitAsync();
        try
        {
            if (held.IsOver)
            {
                return;
            }

            await held.Prepared.RevertAsync();
            held.Watchdog?.Dispose();
            _leases.Remove(held.Fault.Id);
            Over(held, held.Why ?? why);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            held.Why ??= why;
            NotReverted(held, e.Message);
        }
        finally
        {
            _one.Release();
        }
    }

    private void Over(Held held, string why)
    {
        held.Failure = "";
        held.IsOver = true;
        var state = State(held, "reverted", why);
        state.RevertedUnixUs = _events.Now;
        lock (_lock)
        {
            _held.Remove(held.Fault.Id);
            _reverted.Enqueue((_time.GetTimestamp(), state));
            Forget();
        }

        Log.FaultReverted(_log, held.Fault.Id, held.Fault.Kind, why);
        Tell(held, "fault-reverted", why);
    }

    /// <summary>Told once for each reason.</summary>
    private void NotReverted(Held held, string reason)
    {
        if (held.Failure != reason)
        {
            Log.FaultNotReverted(_log, held.Fault.Id, held.Fault.Kind, reason);
            Tell(held, "fault-revert-failed", reason);
        }

        held.Failure = reason;
    }

    private void Tell(Held held, string what, string why) => _events.Add(new GatewayEvent
    {
        Kind = what,
        Link = held.Fault.Link,
        Peer = held.Fault.Peer,
        Service = held.Fault.Service,
        Text = $"{held.Fault.Id}: {held.Fault.Kind}, {why}",
    });

    private void Forget()
    {
        while (_reverted.TryPeek(out var oldest) && (_reverted.Count > MaxReverted || _time.GetElapsedTime(oldest.At) > _listed))
        {
            _reverted.Dequeue();
        }
    }

    private FaultAbility Ability(string kind)
    {
        var reasons = new List<string>();
        foreach (var means in _means)
        {
            if (means.WhyNot(kind) is not { } why)
            {
                return new FaultAbility
                {
                    Kind = kind,
                    Means = means.Name,
                    Why = means.Limit(kind)?.Why ?? string.Join("; ", reasons),
                    LongestMs = means.Limit(kind) is { } limit ? (uint)Math.Max(1, limit.Longest.TotalMilliseconds) : 0,
                };
            }

            reasons.Add($"by {means.Name}: {why}");
        }

        return new FaultAbility { Kind = kind, Why = string.Join("; ", reasons) };
    }

    private static FaultState State(Held held, string? state = null, string why = "") => new()
    {
        Fault = held.Fault,
        State = state ?? (held.Failure.Length > 0 ? "revert-failed" : "in-force"),
        Means = held.Prepared.Means,
        AppliedUnixUs = held.AppliedUs,
        Ended = held.Failure.Length > 0 ? held.Failure : why,
    };

    private sealed class Held(FaultSpec fault, PreparedFault prepared, long applied)
    {
        private long _renewed = applied;

        public FaultSpec Fault => fault;
        public PreparedFault Prepared => prepared;

        /// <summary>When it was in force, not when that began: what notices it is measured from here.</summary>
        public long AppliedUs { get; set; }
        public long Applied { get; } = applied;
        public FaultWatchdog? Watchdog { get; set; }

        /// <summary>Why it was to end, where that was tried.</summary>
        public string? Why { get; set; }
        public volatile string Failure = "";
        public volatile bool IsOver;

        public long Renewed
        {
            get => Interlocked.Read(ref _renewed);
            set => Interlocked.Exchange(ref _renewed, value);
        }
    }
}
