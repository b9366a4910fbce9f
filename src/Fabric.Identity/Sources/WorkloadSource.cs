using System.Formats.Asn1;
using System.Net;
using System.Security.Cryptography;
using Fabric.Identity.Svid;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto.Workload;
using Google.Protobuf;

namespace Fabric.Identity.Sources;

/// <summary>
/// A SPIFFE Workload API, such as that of a SPIRE agent on this host (SPIFFE_Workload_API.md, SPIFFE_Workload_Endpoint.md): one stream
/// whose every message is the whole state. Of the SVIDs in it, the one that names this gateway is taken; at first, the first that
/// names any gateway. Nothing is written to disk. Bundles of other trust domains and revocation lists are ignored.
/// </summary>
/// <remarks>
/// The first message has 30 s to come. After it, silence is normal until three quarters of the certificate's life are over: then the
/// stream is given up, and another opened.
/// </remarks>
public sealed class WorkloadSource : IIdentitySource
{
    private static readonly TimeSpan FirstAnswer = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LongestSilence = TimeSpan.FromDays(40);
    private const int MaxShown = 5;

    private readonly string _endpoint;
    private readonly Func<string, CancellationToken, Task<Stream>> _dial;
    private readonly TimeProvider _time;
    private Subscription? _open;

    /// <param name="endpoint"><c>unix:///path</c> or <c>tcp://ip:port</c>. Throws <see cref="InvalidDataException"/> for anything
    /// else.</param>
    /// <param name="dial">Opens a plain connection to <c>unix:/path</c> or <c>ip:port</c>.</param>
    public WorkloadSource(string endpoint, Func<string, CancellationToken, Task<Stream>> dial, TimeProvider time) =>
        (_endpoint, _dial, _time) = (Address(endpoint), dial, time);

    public string Name => $"spiffe {_endpoint}";

    public async Task<IdentityState> NextAsync(GatewayIdentity? self, CancellationToken ct)
    {
        var patience = FirstAnswer;
        if (_open is null)
        {
            _open = new Subscription(_endpoint, _dial, _time);
        }
        else if (self is not null)
        {
            var (from, until) = self.Validity;
            var left = from + (until - from) * 0.75 - _time.GetUtcNow();
            patience = left < FirstAnswer ? FirstAnswer : left < LongestSilence ? left : LongestSilence;
        }

        try
        {
            return Choose(await _open.NextAsync(patience, ct), self?.Id);
        }
        catch (Exception e)
        {
            // Also when only the message was bad: the next stream begins with the whole state again.
            await CloseAsync();
            throw e switch
            {
                TimeoutException => new JoinException(JoinFailure.Timeout, $"{Name} has said nothing for {patience.TotalSeconds:0} s", e),
                GrpcException { Status: GrpcStatus.PermissionDenied } denied => new JoinException(JoinFailure.NotAdmitted,
                    $"{Name} has no identity for this process: {denied.Detail} (hint: it needs a registration entry)", e),
                GrpcException { Status: GrpcStatus.Unavailable } away => new JoinException(JoinFailure.Unreachable,
                    $"{Name} cannot be reached: {(away.InnerException?.GetBaseException().Message ?? away.Detail)}", e),
                GrpcException other => new JoinException(JoinFailure.Authority, $"{Name} answered {other.Message}", e),
                CryptographicException or AsnContentException => new JoinException(JoinFailure.Protocol,
                    $"{Name} sent an SVID that is malformed: {e.Message}", e),
                _ => e,
            };
        }
    }

    public async ValueTask DisposeAsync() => await CloseAsync();

    private async Task CloseAsync()
    {
        if (Interlocked.Exchange(ref _open, null) is { } open)
        {
            await open.DisposeAsync();
        }
    }

    private IdentityState Choose(X509SVIDResponse message, GatewayId? id)
    {
        foreach (var svid in message.Svids)
        {
            if (SpiffeId.TryParse(svid.SpiffeId, out var named, out _) && named.AsGateway() is { } gateway && (id ?? gateway) == gateway)
            {
                using var key = ECDsa.Create();
                key.ImportPkcs8PrivateKey(svid.X509SvidKey.Span, out _);
                return IdentityState.Of(new Grant(Split(svid.X509Svid), Split(svid.Bundle), []), key, gateway, _time.GetUtcNow());
            }
        }

        var shown = message.Svids.Count == 0 ? "none" : string.Join(", ", message.Svids.Take(MaxShown)
            .Select(s => SpiffeId.TryParse(s.SpiffeId, out var one, out _) ? one.ToString() : "one that has no SPIFFE ID"));
        throw new JoinException(JoinFailure.Protocol, $"{Name} gives {message.Svids.Count} SVIDs ({shown}), and "
            + (id is null ? "none names a gateway: its path must be /site/<site>/gateway/<name>" : $"none names {id}"));
    }

    /// <summary>Certificates in DER, one behind the other.</summary>
    private static List<byte[]> Split(ByteString certificates)
    {
        var rest = certificates.Memory;
        var all = new List<byte[]>();
        while (!rest.IsEmpty && all.Count <= TrustBundle.MaxCertificates)
        {
            AsnDecoder.ReadEncodedValue(rest.Span, AsnEncodingRules.DER, out _, out _, out var length);
            all.Add(rest[..length].ToArray());
            rest = rest[length..];
        }

        return all;
    }

    private static string Address(string endpoint)
    {
        if (endpoint.StartsWith("unix:/", StringComparison.Ordinal))
        {
            // unix:///path and unix:/path are the same; unix://host/path is none.
            var path = endpoint["unix:".Length..];
            path = path.StartsWith("///", StringComparison.Ordinal) ? path[2..] : path;
            if (path.Length > 1 && path[1] != '/' && path.AsSpan().IndexOfAny('?', '#') < 0)
            {
                return "unix:" + path;
            }
        }
        else if (endpoint.StartsWith("tcp://", StringComparison.Ordinal)
            && IPEndPoint.TryParse(endpoint["tcp://".Length..], out var ip) && ip.Port > 0)
        {
            return ip.ToString();
        }

        throw new InvalidDataException($"'{endpoint}' is no SPIFFE Workload API: unix:///path or tcp://ip:port was expected");
    }

    /// <summary>One stream, on a connection of its own.</summary>
    private sealed class Subscription : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly HttpMessageInvoker _invoker;
        private readonly IAsyncEnumerator<X509SVIDResponse> _messages;
        private readonly TimeProvider _time;
        private Task _last = Task.CompletedTask;

        public Subscription(string endpoint, Func<string, CancellationToken, Task<Stream>> dial, TimeProvider time)
        {
            _time = time;

            // Without pings: servers in Go hang up on whoever pings more than every five minutes.
            _invoker = GrpcHandler.OverStreams(ct => dial(endpoint, ct), pings: false);
            _messages = new GrpcClient(_invoker, GrpcHandler.StreamAuthority, time)
                .ServerStreamingAsync(WorkloadMethods.FetchX509Svid, new X509SVIDRequest(),
                    new GrpcCallOptions { Metadata = { { "workload.spiffe.io", "true" } } }, _stop.Token)
                .GetAsyncEnumerator(CancellationToken.None);
        }

        /// <summary>Throws <see cref="TimeoutException"/>, or <see cref="GrpcException"/>: also when the stream ends in order.</summary>
        public async Task<X509SVIDResponse> NextAsync(TimeSpan patience, CancellationToken ct)
        {
            var next = _messages.MoveNextAsync().AsTask();
            _last = next;
            return await next.WaitAsync(patience, _time, ct) ? _messages.Current
                : throw new GrpcException(GrpcStatus.Unavailable, "the stream ended");
        }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _last.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await _messages.DisposeAsync();
            _invoker.Dispose();
            _stop.Dispose();
        }
    }
}
