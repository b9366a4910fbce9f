using System.Collections.Concurrent;
using System.Diagnostics;

using Fabric.Lab.Failover;
using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Soak;

/// <summary>
/// Small requests on connections that stay, bulk streams of which every block has its hash, and connections that come and go, all at once
/// through two gateways; each minute one of their two links goes silent for some seconds.
/// </summary>
public sealed class SoakRun(TimeSpan length, Progress progress)
{
    private const int BulkStreams = 2;
    private const long BulkBytes = 32 << 20;
    private const long BulkBytesPerSecond = 8 << 20;

    /// <summary>Descriptors that come and go with the moment: connections of the load, of probes, of health checks.</summary>
    private const int Passing = 8;

    /// <summary>Losses that are told one by one.</summary>
    private const int Told = 20;

    private static readonly TimeSpan _sampleEvery = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan _faultEvery = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan _faultLasts = TimeSpan.FromSeconds(6);
    private static readonly TimeSpan _lastAnswers = TimeSpan.FromSeconds(20);

    private readonly Stopwatch _since = new();
    private readonly Growth _paris = new("paris");
    private readonly Growth _virginia = new("virginia");
    private long _failed;
    private long _bytes;
    private int _streams;
    private int _wrong;
    private int _connections;
    private int _faults;
    private readonly ConcurrentQueue<string> _losses = new();

    public static IReadOnlyList<Wire> Wires => [new(20), new(22)];

    public IReadOnlyList<Growth> Growths => [_paris, _virginia];

    public IReadOnlyList<Figure> Results =>
    [
        new("rss_growth", Growths.Max(g => g.OfResident), "", 1.1, "resident memory of the last quarter to that of the second, of the gateway where it is more"),
        new("private_growth", Growths.Max(g => g.OfPrivate), "", 1.1, "the same of memory that is the process's alone"),
        new("descriptors_growth", Growths.Max(g => g.OfDescriptors), "", Passing, "more descriptors in the last quarter than in the second"),
        new("hashes_wrong", _wrong, "", 0, $"of {_streams:N0} streams, {_bytes / (double)(1L << 30):0.0} GiB, over {_faults} silent cuts of {_faultLasts.TotalSeconds:0} s"),
        new("requests_failed", _failed, "", 0, $"messages without their echo and connections that ended, of those that stay and of {_connections:N0} that came and went"),
    ];

    /// <summary>What was lost, when, and what the gateways had to say when it was first seen; empty when nothing was. The first 20.</summary>
    public IEnumerable<string> Losses => _losses;

    private bool GoesOn => _since.Elapsed < length;

    public async Task Run(FailoverFabric fabric)
    {
        foreach (var link in fabric.Links)
        {
            link.Conditions = HashedStreams.Whole(link);
        }

        _since.Start();
        using var requests = await fabric.OpenEcho();
        await Task.WhenAll([Sample(fabric), Faults(fabric), Connections(fabric), .. Enumerable.Range(0, BulkStreams).Select(_ => Bulk(fabric))]);
        Count(fabric, "connections that stay", await requests.Finish(_lastAnswers));
    }

    private async Task Sample(FailoverFabric fabric)
    {
        while (GoesOn)
        {
            _paris.Add(Holding.Of(fabric.Paris.Pid));
            _virginia.Add(Holding.Of(fabric.Virginia.Pid));
            progress.Now($"soak: {_since.Elapsed.TotalMinutes:0} of {length.TotalMinutes:0} min, {_faults} faults, {_streams} bulk streams, {_connections} connections");
            await Task.Delay(_sampleEvery, Interruption.Token);
        }
    }

    private async Task Faults(FailoverFabric fabric)
    {
        while (_since.Elapsed + _faultEvery <= length)
        {
            await Task.Delay(_faultEvery - _faultLasts, Interruption.Token);
            var link = fabric.Links[_faults++ % fabric.Links.Count];
            link.Cut(true);
            await Task.Delay(_faultLasts, Interruption.Token);
            link.Cut(false);
        }
    }

    private async Task Bulk(FailoverFabric fabric)
    {
        while (GoesOn)
        {
            using var stream = await fabric.OpenBulk(BulkBytes / BulkServer.Block, BulkBytesPerSecond);
            var (dropped, lost) = await stream.Result.WaitAsync(Interruption.Token);
            Interlocked.Increment(ref _streams);
            Interlocked.Add(ref _bytes, stream.Bytes);
            Interlocked.Add(ref _wrong, dropped > 0 || lost > 0 ? 1 : 0);
            Tell(fabric, "a bulk stream", (dropped, lost));
        }
    }

    /// <summary>A few at a time, each for a second.</summary>
    private async Task Connections(FailoverFabric fabric)
    {
        const int AtOnce = 20;
        while (GoesOn)
        {
            using var load = await fabric.OpenEcho(connections: AtOnce, perSecond: 10 * AtOnce);
            await Task.Delay(TimeSpan.FromSeconds(1), Interruption.Token);
            Count(fabric, "connections that come and go", await load.Finish(_lastAnswers));
            _connections += AtOnce;
        }
    }

    private void Count(FailoverFabric fabric, string whose, (int Dropped, long BytesLost) losses)
    {
        Interlocked.Add(ref _failed, losses.Dropped + losses.BytesLost / EchoLoad.Message);
        Tell(fabric, whose, losses);
    }

    private void Tell(FailoverFabric fabric, string whose, (int Dropped, long BytesLost) losses)
    {
        if (losses is not (0, 0) && _losses.Count < Told)
        {
            _losses.Enqueue($"{_since.Elapsed:h\\:mm\\:ss} ({DateTime.UtcNow:HH:mm:ss}) {whose}: {losses.Dropped} ended early, {losses.BytesLost} bytes missing or wrong"
                + (_losses.IsEmpty ? "\n" + fabric.Tails() : ""));
        }
    }
}
