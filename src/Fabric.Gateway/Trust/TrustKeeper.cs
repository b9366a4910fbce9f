using Fabric.Gateway.Telemetry;
using Fabric.Identity;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;
using Fabric.Protocol.Proto;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Trust;

/// <summary>
/// Keeps the trust document that this gateway goes by: takes a newer one from whoever has it (the command line of the authority's host, any
/// other gateway's catalog), stores it, and hands it on; and says of this gateway, and hands on of the others, how far each has come.
/// </summary>
internal sealed class TrustKeeper
{
    /// <summary>A report is made anew this often, though nothing has changed: it says that the gateway lives.</summary>
    public static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(15);

    private readonly GatewayIdentity _identity;
    private readonly TrustFile _file;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly GatewayReports _reports;
    private readonly Lock _gate = new();
    private GatewayTrust? _own;
    private string _refused = "";

    /// <summary>Throws <see cref="InvalidDataException"/> when the stored document is damaged, or another mesh's.</summary>
    public TrustKeeper(GatewayIdentity identity, TrustFile file, TimeProvider time, ILogger log)
    {
        (_identity, _file, _time, _log, _reports) = (identity, file, time, log, new GatewayReports(identity.Id.Gateway, time, identity.Check));
        if (file.Load() is { } stored)
        {
            identity.Restore(stored);
        }
    }

    /// <summary>Another document holds from now on. Any thread.</summary>
    public Action Changed { get; set; } = () => { };

    /// <summary>A peer handed on a report that its gateway has not made: who, and why.</summary>
    public Action<string, string> Misreported { get; init; } = (_, _) => { };

    /// <summary>Lanes of which either end showed a certificate under another root than that.</summary>
    public Func<string, int> OldLanes { get; set; } = _ => 0;

    public TrustDocument? Document => _identity.Trust;

    /// <summary>The last document of a peer that was refused, and why; empty when there was none since one was taken.</summary>
    public string Problem => _refused.Length == 0 ? "" : $"a trust document was refused: {_refused}";

    /// <summary>From the admin socket. Throws <see cref="TrustRefusedException"/> or <see cref="InvalidDataException"/> with the reason.</summary>
    /// <returns>The version that holds now.</returns>
    public ulong Publish(SignedTrust signed)
    {
        var document = TrustDocument.Of(signed);
        if (!Holds(document))
        {
            Take(document, "the admin socket");
        }

        return document.Version;
    }

    /// <summary>What a peer's catalog brought. Never throws for what the peer says.</summary>
    public void Heard(string peer, CatalogUpdate update)
    {
        // First: reports may be signed under a root that it brings.
        if (update.Trust is { } signed)
        {
            HeardDocument(peer, signed);
        }

        foreach (var report in update.Reports.Take(GatewayReports.MaxTold))
        {
            try
            {
                _reports.Put(report);
            }
            catch (TrustRefusedException e)
            {
                Misreported(peer, e.Message);
            }
        }
    }

    private void HeardDocument(string peer, SignedTrust signed)
    {
        try
        {
            var document = TrustDocument.Of(signed);
            if (document.Version > (Document?.Version ?? 0))
            {
                Take(document, peer);
            }
        }
        catch (Exception e) when (e is TrustRefusedException or InvalidDataException or IOException or UnauthorizedAccessException)
        {
            if (_refused != e.Message)
            {
                _refused = e.Message;
                Log.TrustRefused(_log, peer, e.Message);
            }
        }
    }

    /// <summary>For one more watcher of this gateway's catalog.</summary>
    public Feed NewFeed() => new(this);

    /// <summary>What one watcher was told.</summary>
    public sealed class Feed(TrustKeeper keeper)
    {
        private TrustDocument? _told;
        private long _number;

        public void Tell(CatalogUpdate update)
        {
            keeper.Report();
            if (keeper.Document is { } document && !ReferenceEquals(document, _told))
            {
                update.Trust = document.Signed;
                _told = document;
            }

            update.Reports.Add(keeper._reports.Since(ref _number, root => keeper.Document?.Withdrawn.Contains(root) == true));
        }
    }

    public GatewayTrust? Of(string gateway) => _reports.Of(gateway);

    /// <summary>Of whom to listen to: the gateways of the topology.</summary>
    public void Keep(IReadOnlySet<(string Site, string Gateway)> known) => _reports.Keep(known);

    /// <summary>For <c>status</c>.</summary>
    public TrustStatus Status()
    {
        Report();
        var status = new TrustStatus
        {
            Version = Document?.Version ?? 0,
            Created = Document?.Created.ToUnixTimeSeconds() ?? 0,
            Issuing = Bytes(Document?.Issuing ?? ""),
            RenewBefore = Document?.RenewBefore?.ToUnixTimeMilliseconds() ?? 0,
        };
        status.Evicted.Add(Document?.Evicted ?? []);
        status.Roots.Add(_identity.Bundle.Roots.Select(r => new TrustRoot
        {
            Sha256 = ByteString.CopyFrom(TrustBundle.Fingerprint(r)),
            Subject = r.Subject,
            Begins = new DateTimeOffset(r.NotBefore).ToUnixTimeSeconds(),
            Expires = new DateTimeOffset(r.NotAfter).ToUnixTimeSeconds(),
        }));
        status.Gateways.Add(_reports.All);
        return status;
    }

    private bool Holds(TrustDocument document) => Document is { } held && held.Version == document.Version
        && held.Signed!.Statement.Equals(document.Signed!.Statement);

    private void Take(TrustDocument document, string from)
    {
        _identity.Accept(document, _file.Save);
        _refused = "";
        Log.TrustTaken(_log, document.Version, from, document.Roots.Length, document.Evicted.Count);
        Changed();
    }

    /// <summary>The own report, made anew when it says something else, or is 15 s old.</summary>
    private void Report()
    {
        lock (_gate)
        {
            var state = _identity.State;
            var next = Own(state);
            if (_own is { } own)
            {
                next.Reported = own.Reported;
                if (next.Equals(own) && _time.GetUtcNow().ToUnixTimeSeconds() - own.Reported < ReportEvery.TotalSeconds)
                {
                    return;
                }
            }

            // Later than the one before, whatever the clock did.
            next.Reported = Math.Max(_time.GetUtcNow().ToUnixTimeSeconds(), (_own?.Reported ?? 0) + 1);
            _own = next;
            _reports.PutOwn(next, _identity.Sign(next, state));
        }
    }

    private GatewayTrust Own(IdentityState state)
    {
        var issuing = Document?.Issuing ?? "";
        var report = new GatewayTrust
        {
            Site = _identity.Id.Site,
            Gateway = _identity.Id.Gateway,
            Version = Document?.Version ?? 0,
            LeafRoot = Bytes(_identity.Root),
            LeafBegins = state.Validity.NotBefore.ToUnixTimeSeconds(),
            LeafExpires = state.Validity.NotAfter.ToUnixTimeSeconds(),
            OldLanes = issuing.Length > 0 ? (uint)OldLanes(issuing) : 0,
        };
        report.Roots.Add(_identity.Bundle.Roots.Select(r => ByteString.CopyFrom(TrustBundle.Fingerprint(r))));
        if (state.Intermediates.Count > 0)
        {
            report.Intermediate = ByteString.CopyFrom(TrustBundle.Fingerprint(state.Intermediates[0]));
            report.IntermediateExpires = new DateTimeOffset(state.Intermediates[0].NotAfter).ToUnixTimeSeconds();
        }

        return report;
    }

    private static ByteString Bytes(string hex) => ByteString.CopyFrom(Convert.FromHexString(hex));
}
