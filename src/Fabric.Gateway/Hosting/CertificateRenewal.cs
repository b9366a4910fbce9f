using System.Net.Sockets;
using Fabric.Gateway.Telemetry;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// Keeps the gateway's certificate fresh: from the CA's folder where the gateway joined on its host, else over the network from the
/// gateway that it joined at.
/// </summary>
internal sealed class CertificateRenewal : IAsyncDisposable
{
    private readonly GatewayIdentity _identity;
    private readonly string? _caFolder;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    /// <summary>Starts at once.</summary>
    /// <param name="caFolder">Null where this host keeps no CA.</param>
    public CertificateRenewal(GatewayIdentity identity, string? caFolder, TimeProvider time, ILogger log)
    {
        (_identity, _caFolder, _time, _log) = (identity, caFolder, time, log);
        var loop = new RenewalLoop(
            cancellationToken => identity.RenewAsync(GrantAsync, cancellationToken),
            () => identity.Validity, time, new Random(Environment.ProcessId), Report);
        _running = Task.Run(() => loop.RunAsync(_stop.Token));
    }

    /// <summary>Empty, or why the last attempt failed.</summary>
    public string Problem { get; private set; } = "";

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private Task<Grant> GrantAsync(byte[] request, CancellationToken cancellationToken) => _identity.Authority is not null
        ? JoinClient.RenewAsync(_identity, request, ConnectAsync, _time, cancellationToken)
        : _caFolder is { } folder
            ? Task.FromResult(MeshCa.Open(folder, _time).Issue(_identity.Id, request))
            : throw new JoinException(JoinFailure.Authority, "this gateway joined on the CA's own host, and no --ca folder is set");

    private void Report(RenewalAttempt attempt)
    {
        Problem = attempt.Error is null ? "" : $"the certificate could not be renewed: {attempt.Error.Message}";
        if (attempt.Error is null)
        {
            Log.Renewed(_log, attempt.Expires);
        }
        else
        {
            Log.NotRenewed(_log, attempt.Error.Message);
        }
    }

    private static async Task<Stream> ConnectAsync(string address, CancellationToken cancellationToken)
    {
        if (!JoinToken.TrySplit(address, out var host, out var port))
        {
            throw new IOException($"'{address}' is not host:port");
        }

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(host, port, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
