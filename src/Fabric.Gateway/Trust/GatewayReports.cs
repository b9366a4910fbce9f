using System.Collections.Immutable;
using Fabric.Identity.Trust;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Trust;

/// <summary>
/// What gateways last said of whom they trust: the own report, those of neighbours, and those that were handed on, so that each gateway, and so the
/// authority's, sees all. Each is signed by the gateway that it is about; of two the later counts, by that gateway's own clock. At most
/// <see cref="Max"/>; thread-safe.
/// </summary>
/// <remarks>
/// Who hands one on can keep it back, and so hold up a rotation. An old one in its place names the document that its gateway had then: a
/// rotation waits for one that names its own.
/// </remarks>
/// <param name="self">This gateway: nobody else says what it goes by.</param>
/// <param name="time">The clock.</param>
/// <param name="check">Throws <see cref="TrustRefusedException"/> unless the gateway that the report is about has signed it.</param>
internal sealed class GatewayReports(string self, TimeProvider time, Action<SignedReport, GatewayTrust> check)
{
    public const int Max = 10_000;

    /// <summary>Of those in one message, of about 2 KiB each.</summary>
    public const int MaxTold = 500;

    /// <summary>Reports from the future, beyond what clocks differ by, would hide all that follow.</summary>
    private static readonly TimeSpan _ahead = TimeSpan.FromMinutes(5);

    private readonly Lock _gate = new();
    private readonly Dictionary<(string Site, string Gateway), Entry> _reports = [];
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
            return _reports.FirstOrDefault(r => r.Key.Gateway == gateway).Value?.Report;
        }
    }

    /// <summary>This gateway's own, which takes the last one's place.</summary>
    public void PutOwn(GatewayTrust report, SignedReport signed)
    {
        lock (_gate)
        {
            _reports[(report.Site, report.Gateway)] = new Entry(report, signed, ++_number);
        }
    }

    /// <summary>
    /// Takes another's report. False when one that is as new is there, or it is of no other gateway of the topology, or there are too many: none of that
    /// is anybody's fault. Throws <see cref="TrustRefusedException"/> with the reason when it cannot be what that gateway says.
    /// </summary>
    public bool Put(SignedReport signed)
    {
        var report = SignedReports.Read(signed);
        if (report.Reported > (time.GetUtcNow() + _ahead).ToUnixTimeSeconds())
        {
            throw new TrustRefusedException($"the report of {report.Site}/{report.Gateway} is of a time that is more than {_ahead.TotalMinutes:0} min ahead: compare the clocks");
        }

        // Most have come by another way already: the proof is for those that have not.
        if (!Wants(report))
        {
            return false;
        }

        check(signed, report);
        lock (_gate)
        {
            if (!Wants(report))
            {
                return false;
            }

            _reports[(report.Site, report.Gateway)] = new Entry(report, signed, ++_number);
            return true;
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

    /// <summary>
    /// Those that came after <paramref name="number"/>, which becomes that of the last that is returned: at most <see cref="MaxTold"/>, the rest
    /// is for the next time. Those whose signer's certificate has ended, or was withdrawn, are left out: nobody would believe them any more.
    /// </summary>
    /// <param name="number">0 at first.</param>
    /// <param name="withdrawn">Whether a root, by its SHA-256 in hex, is trusted no more.</param>
    public IReadOnlyList<SignedReport> Since(ref long number, Func<string, bool> withdrawn)
    {
        lock (_gate)
        {
            var seen = number;
            if (seen == _number)
            {
                return [];
            }

            var next = _reports.Values.Where(r => r.Number > seen).OrderBy(r => r.Number).Take(MaxTold).ToList();
            number = next.Count < MaxTold ? _number : next[^1].Number;
            var now = time.GetUtcNow().ToUnixTimeSeconds();
            return [.. next.Where(r => r.Report.LeafExpires > now && !withdrawn(Convert.ToHexStringLower(r.Report.LeafRoot.Span))).Select(r => r.Signed)];
        }
    }

    /// <summary>Whether it says something new, of somebody who counts.</summary>
    private bool Wants(GatewayTrust report)
    {
        lock (_gate)
        {
            var key = (report.Site, report.Gateway);
            return report.Gateway != self && _known?.Contains(key) != false
                && (_reports.TryGetValue(key, out var known) ? known.Report.Reported < report.Reported : _reports.Count < Max);
        }
    }

    private sealed record Entry(GatewayTrust Report, SignedReport Signed, long Number);
}
