using System.Collections.Immutable;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Trust;

/// <summary>
/// What gateways last said of whom they trust: the own report, those of neighbours, and those that were handed on, so that each gateway, and so the
/// authority's, sees all. Of two reports of one gateway the later counts, by that gateway's own clock. At most <see cref="Max"/>; thread-safe.
/// </summary>
/// <remarks>
/// A report is as good as those who handed it on. A gateway that lies can hold up a rotation or hurry it, and so cut off some gateway: whom
/// anybody trusts, no report changes.
/// </remarks>
internal sealed class GatewayReports(TimeProvider time)
{
    public const int Max = 10_000;

    /// <summary>Reports from the future, beyond what clocks differ by, would hide all that follow.</summary>
    private static readonly TimeSpan _ahead = TimeSpan.FromMinutes(5);

    private readonly Lock _gate = new();
    private readonly Dictionary<(string Site, string Gateway), (GatewayTrust Report, long Number)> _reports = [];
    private IReadOnlySet<(string Site, string Gateway)>? _known;
    private long _number;

    /// <summary>All, by site and gateway.</summary>
    public ImmutableArray<GatewayTrust> All
    {
        get
        {
            lock (_gate)
            {
                return [.. _reports.OrderBy(r => r.Key.Site, StringComparer.Ordinal).ThenBy(r => r.Key.Gateway, StringComparer.Ordinal).Select(r => r.Value.Report)];
            }
        }
    }

    public GatewayTrust? Of(string gateway)
    {
        lock (_gate)
        {
            return _reports.FirstOrDefault(r => r.Key.Gateway == gateway).Value.Report;
        }
    }

    /// <summary>Takes a report, unless a later one of that gateway is there, or it cannot be one.</summary>
    public void Put(GatewayTrust report)
    {
        if (report.Site.Length is 0 or > 255 || report.Gateway.Length is 0 or > 255 || report.Roots.Count > 64
            || report.Reported > (time.GetUtcNow() + _ahead).ToUnixTimeSeconds())
        {
            return;
        }

        var key = (report.Site, report.Gateway);
        lock (_gate)
        {
            if (_known?.Contains(key) == false)
            {
                return;
            }

            if (_reports.TryGetValue(key, out var known) ? known.Report.Reported < report.Reported : _reports.Count < Max)
            {
                _reports[key] = (report, ++_number);
            }
        }
    }

    /// <summary>From now on only these: those of the topology. Others are forgotten.</summary>
    public void Keep(IReadOnlySet<(string Site, string Gateway)> known)
    {
        lock (_gate)
        {
            _known = known;
            foreach (var key in _reports.Keys.Where(k => !known.Contains(k)).ToList())
            {
                _reports.Remove(key);
            }
        }
    }

    /// <summary>Those that came after <paramref name="number"/>, which becomes that of the last.</summary>
    public IReadOnlyList<GatewayTrust> Since(ref long number)
    {
        lock (_gate)
        {
            var seen = number;
            number = _number;
            return seen == _number ? [] : [.. _reports.Values.Where(r => r.Number > seen).Select(r => r.Report)];
        }
    }
}
