using Fabric.Gateway.Faults;
using Fabric.Gateway.Telemetry;
using Fabric.Identity;
using Fabric.Identity.Sources;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Hosting;

/// <summary>Where this gateway's identity comes from: at the start, and as long as it runs.</summary>
internal sealed class CertificateRenewal : IAsyncDisposable
{
    /// <summary>At the start: an agent or a Vault that starts along with this host may need a moment.</summary>
    private static readonly TimeSpan _firstLimit = TimeSpan.FromSeconds(60);

    private readonly IIdentitySource _source;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _stop = new();
    private Task _running = Task.CompletedTask;

    private CertificateRenewal(IIdentitySource source, GatewayIdentity identity, TimeProvider time, ILogger log) =>
        (_source, Identity, _time, _log) = (source, identity, time, log);

    public GatewayIdentity Identity { get; }

    /// <summary>Where it comes from, for status.</summary>
    public string Source => _source.Name;

    /// <summary>Told when a certificate came, and from where.</summary>
    public Action<string> Renewed { get; set; } = static _ => { };

    /// <summary>Empty, or why the last attempt failed.</summary>
    public string Problem { get; private set; } = "";

    /// <summary>
    /// Gets the identity. An authority that is away is tried for a minute, for otherwise whoever restarts this process would ask it
    /// every second. Throws the reason as <see cref="IIdentitySource.NextAsync"/> does.
    /// </summary>
    /// <param name="seam">What drills make of the source.</param>
    public static async Task<CertificateRenewal> OpenAsync(
        DaemonOptions options, FaultSeam seam, TimeProvider time, ILogger log, CancellationToken cancellationToken)
    {
        var source = new FaultySource(Open(options, keep: true, time), seam);
        try
        {
            return new CertificateRenewal(source, new GatewayIdentity(await FirstAsync(source, time, log, cancellationToken), time), time, log);
        }
        catch
        {
            await source.DisposeAsync();
            throw;
        }
    }

    /// <summary>The source that the options name.</summary>
    /// <param name="keep">False for those who only look.</param>
    public static IIdentitySource Open(DaemonOptions options, bool keep, TimeProvider time) => IdentitySources.Open(
        options.Identity, Path.Combine(options.State, Daemon.IdentityFolder), keep, Dialer.ConnectAsync, options.Ca, time);

    /// <summary>Follows the source from now on.</summary>
    public void Start()
    {
        var loop = new RenewalLoop(Identity, _source, _time, new Random(Environment.ProcessId), Report);
        _running = Task.Run(() => loop.RunAsync(_stop.Token));
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _source.DisposeAsync();
        _stop.Dispose();
    }

    private static async Task<IdentityState> FirstAsync(IIdentitySource source, TimeProvider time, ILogger log, CancellationToken cancellationToken)
    {
        var started = time.GetTimestamp();
        for (var failures = 1; ; failures++)
        {
            var wait = RenewalLoop.RetryAfter(failures, 0);
            try
            {
                return await source.NextAsync(null, cancellationToken);
            }
            catch (JoinException e) when (e.Failure != JoinFailure.Protocol && time.GetElapsedTime(started) + wait < _firstLimit)
            {
                Log.NotRenewed(log, source.Name, e.Message);
                await Task.Delay(wait, time, cancellationToken);
            }
        }
    }

    private void Report(RenewalAttempt attempt)
    {
        var before = Problem;
        Problem = attempt.Error is null ? "" : $"the certificate could not be renewed from {Source}: {attempt.Error.Message}";
        if (attempt.Changed)
        {
            Log.Renewed(_log, Source, attempt.Expires);
            Renewed(Source);
        }
        else if (attempt.Error is { } error && Problem != before)
        {
            // The same again says nothing new: status shows it as long as it lasts.
            Log.NotRenewed(_log, Source, error.Message);
        }
    }
}
