using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>
/// Questions under way: one for each key, however many wait for it. At the limits nobody is asked, and that is the answer. What comes back goes
/// into the cache, unless the servers were changed meanwhile.
/// </summary>
internal sealed class DnsFlights(DnsForwarderOptions options, DnsForwardCache cache, DnsForwardCounters counters, TimeProvider time)
    : IAsyncDisposable
{
    private static readonly IPEndPoint _nobody = new(IPAddress.None, 0);

    private readonly Dictionary<byte[], Task<DnsCacheEntry>> _flights = new(new DnsQuestionComparer());
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _stop = new();
    private DnsForwardPlan _plan = DnsForwardPlan.Empty;
    private readonly DnsShares _asking = new(options.Questions);
    private readonly DnsShares _waiting = new(options.Waiting);

    public DnsForwardPlan Plan
    {
        get => Volatile.Read(ref _plan);
        set => Volatile.Write(ref _plan, value);
    }

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _flights.Count;
            }
        }
    }

    /// <summary>Waits for the answer, which is an entry though it may not be in the cache, or a failure.</summary>
    /// <param name="key">As in the cache.</param>
    /// <param name="query">Well formed.</param>
    /// <param name="client">Whose share is charged, for the query and, when it is the first of its kind, for the question.</param>
    /// <param name="flight">What to wait for.</param>
    /// <returns>To be disposed when it was waited for; null: at a limit, which is the answer.</returns>
    public IDisposable? Ask(byte[] key, ReadOnlySpan<byte> query, ReadOnlySpan<byte> client, out Task<DnsCacheEntry> flight)
    {
        var place = _waiting.TryTake(client, out var has);
        flight = place is not null
            ? Join(key, DnsQuery.Read(query), client, joins: true)!
            : Limited(has, _waiting.Taken, options.Waiting, "queries wait for other servers");
        return place;
    }

    /// <summary>Asks for what is in the cache still. False: it is being asked for already, or the limit is reached. All these share what
    /// one client may have.</summary>
    public bool TryRenew(ReadOnlySpan<byte> key, in DnsQuery query) => Join(key.ToArray(), query, default, joins: false) is not null;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        Task[] left;
        lock (_lock)
        {
            left = [.. _flights.Values];
        }

        await Task.WhenAll(left);
        _stop.Dispose();
    }

    /// <summary>Null only when it may not join.</summary>
    private Task<DnsCacheEntry>? Join(byte[] key, in DnsQuery query, ReadOnlySpan<byte> client, bool joins)
    {
        TaskCompletionSource<DnsCacheEntry> source;
        IDisposable? place;
        lock (_lock)
        {
            if (_flights.TryGetValue(key, out var flight))
            {
                if (joins)
                {
                    DnsForwardCounters.Count(ref counters.Joined);
                }

                return joins ? flight : null;
            }

            var has = 0;
            place = _stop.IsCancellationRequested ? null : _asking.TryTake(client, out has);
            if (place is null)
            {
                var limited = Limited(has, _flights.Count, options.Questions, "questions are under way");
                return joins ? limited : null;
            }

            source = new TaskCompletionSource<DnsCacheEntry>(TaskCreationOptions.RunContinuationsAsynchronously);
            _flights.Add(key, source.Task);
        }

        DnsForwardCounters.Count(ref counters.Questions);
        _ = FlyAsync(
            source, place, key, query.Question.ToArray(), query.DnssecOk, (query.Header.Flags & DnsFlags.CheckingDisabled) != 0);
        return source.Task;
    }

    private async Task FlyAsync(
        TaskCompletionSource<DnsCacheEntry> source, IDisposable place, byte[] key, byte[] question, bool dnssecOk, bool checkingDisabled)
    {
        // Off the thread that receives queries: sockets are made here.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        var entry = Failure("the question could not be asked", default);
        try
        {
            var generation = cache.Generation;
            if (Plan.Find(question.AsSpan(0, question.Length - 4)) is { } route)
            {
                var answer = await DnsUpstreamRace.RunAsync(
                    route, question, dnssecOk, checkingDisabled, options.Deadline, time, _stop.Token);
                entry = Keep(generation, key, answer);
            }
        }
        catch (Exception e)
        {
            // No descriptors, perhaps: this question's trouble, and no other's.
            entry = Failure(e.Message, default);
        }
        finally
        {
            lock (_lock)
            {
                _flights.Remove(key);
            }

            place.Dispose();

            source.SetResult(entry);
        }
    }

    private DnsCacheEntry Keep(int generation, byte[] key, DnsUpstreamAnswer answer)
    {
        if (answer.Response is not { } response)
        {
            var failure = Failure(answer.Problem, answer);
            if (cache.Find(key) is { Failure: null } stale)
            {
                // What is stale is better than what failed; for a while nobody is asked again.
                Volatile.Write(ref stale.RetryAt, time.GetTimestamp() + (long)(options.FailureTtl.TotalSeconds * time.TimestampFrequency));
            }
            else
            {
                cache.Put(key, failure, generation);
            }

            return failure;
        }

        var most = (uint)(response.IsNegative ? options.MaxNegativeTtl : options.MaxTtl).TotalSeconds;
        var entry = new DnsCacheEntry
        {
            Response = response,
            Arrived = time.GetTimestamp(),
            Ttl = Math.Min(response.Ttl ?? 0, most),
            Server = answer.Server!,
            RoundTrip = answer.RoundTrip,
        };
        if (entry.Ttl > 0)
        {
            cache.Put(key, entry, generation);
        }

        return entry;
    }

    /// <summary>Not kept: the next query may find a place.</summary>
    private Task<DnsCacheEntry> Limited(int ofClient, int all, int limit, string what)
    {
        DnsForwardCounters.Count(ref counters.Limited);
        var why = all >= limit ? $"{limit} {what}: no more may" : $"{ofClient} of {limit} {what} for this client, and {limit - all} places are free: no more may";
        return Task.FromResult(Failure(why, default, DnsExtendedError.Other));
    }

    private DnsCacheEntry Failure(
        string why, DnsUpstreamAnswer? answer, DnsExtendedError code = DnsExtendedError.NoReachableAuthority)
    {
        return new DnsCacheEntry
        {
            Response = _failed,
            Arrived = time.GetTimestamp(),
            Ttl = (uint)Math.Max(1, options.FailureTtl.TotalSeconds),
            Server = answer?.Server ?? _nobody,
            RoundTrip = answer?.RoundTrip ?? default,
            Failure = why,
            FailureCode = code,
        };
    }

    private static readonly DnsResponse _failed = new();
}
