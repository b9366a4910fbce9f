using Fabric.Identity.Authority;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Joining;

/// <summary>
/// How one conversation ended, for the log. <see cref="Failure"/> is <see cref="JoinFailure.None"/> when granted.
/// </summary>
public sealed record JoinOutcome(GatewayId? Gateway, bool Renewal, JoinFailure Failure, string Message);

/// <summary>
/// The authority's side of ALPN <c>fabric-join/1</c>, over a TLS stream that the caller has accepted with a gateway's
/// certificate. One request per connection: a token's secret (joining), or a client certificate (renewal). At most <see
/// cref="MaxConcurrent"/> at once, each for at most <see cref="Limit"/>.
/// </summary>
/// <param name="topology">The mesh's topology files now, given to whoever joins or renews. Together under 7 MiB.</param>
/// <param name="admits">Whether a gateway may renew: one that left the topology may not. Default: all.</param>
public sealed class JoinServer(
    MeshCa ca, Func<IReadOnlyList<(string Name, string Text)>> topology, TimeProvider time, Func<GatewayId, bool>? admits = null)
    : IDisposable
{
    /// <summary>The ALPN protocol.</summary>
    public const string Protocol = "fabric-join/1";

    public const int MaxConcurrent = 16;
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan BusyLimit = TimeSpan.FromSeconds(1);
    private const int MaxTopologyBytes = 7 << 20;
    private readonly SemaphoreSlim _places = new(MaxConcurrent);

    public void Dispose() => _places.Dispose();

    /// <summary>
    /// Holds one conversation. Whatever the peer does, it returns an outcome and does not throw, unless <paramref name="ct"/> is
    /// cancelled. The stream stays the caller's to close.
    /// </summary>
    /// <param name="peer">Whom the client's certificate names, verified by the caller; null when it showed none.</param>
    /// <param name="refusal">Why this one is not served now, though it might be later; null when it is.</param>
    public async Task<JoinOutcome> ServeAsync(Stream stream, GatewayId? peer, CancellationToken ct, string? refusal = null)
    {
        using var limit = new CancellationTokenSource(Limit, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(ct, limit.Token);
        var served = refusal is null && await _places.WaitAsync(0, ct);
        try
        {
            await JoinFraming.WriteAsync(stream, new JoinHello { Roots = { ca.Roots.Select(ByteString.CopyFrom) } }, both.Token);
            if (!served)
            {
                // After hello, for a client takes anything else in its place for a breach of the protocol; and not for long.
                limit.CancelAfter(BusyLimit);
                var outcome = await Refuse(stream, new JoinOutcome(peer, false, JoinFailure.Busy, refusal ?? "too many join at once; try again"), both.Token);
                await LetSpeakAsync(stream, both.Token);
                return outcome;
            }

            var request = await JoinFraming.ReadAsync(stream, JoinRequest.Parser, JoinFraming.MaxRequest, both.Token);
            var renewal = request.TokenId.IsEmpty && request.TokenSecret.IsEmpty;
            JoinReply reply;
            GatewayId id;
            try
            {
                (reply, id) = await Task.Run(() => Grant(request, renewal ? peer : null, renewal), both.Token);
            }
            catch (JoinException e)
            {
                return await Refuse(stream, new JoinOutcome(peer, renewal, e.Failure, e.Message), both.Token);
            }

            await JoinFraming.WriteAsync(stream, reply, both.Token);
            return new JoinOutcome(id, renewal, JoinFailure.None, "");
        }
        catch (InvalidDataException e)
        {
            return await Refuse(stream, new JoinOutcome(peer, false, JoinFailure.BadRequest, e.Message), both.Token);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            return new JoinOutcome(peer, false, JoinFailure.Timeout, $"no request within {Limit.TotalSeconds:0} s");
        }
        catch (IOException e)
        {
            return new JoinOutcome(peer, false, JoinFailure.Unreachable, $"the peer went away: {e.Message}");
        }
        finally
        {
            if (served)
            {
                _places.Release();
            }
        }
    }

    /// <summary>A connection that is closed with a request unread takes back what was said.</summary>
    private static async Task LetSpeakAsync(Stream stream, CancellationToken ct)
    {
        try
        {
            await JoinFraming.ReadAsync(stream, JoinRequest.Parser, JoinFraming.MaxRequest, ct);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or OperationCanceledException)
        {
            // It had its chance.
        }
    }

    /// <summary>What could fail comes before the token is used up; issuing comes last.</summary>
    private (JoinReply Reply, GatewayId Id) Grant(JoinRequest request, GatewayId? peer, bool renewal)
    {
        var reply = new JoinReply { Topology = { Files() } };
        var csr = request.Csr.ToByteArray();
        Grant grant;
        if (!renewal)
        {
            grant = ca.Redeem(request.TokenId.Span, request.TokenSecret.Span, csr, out var joined);
            peer = joined;
        }
        else if (peer is null || admits?.Invoke(peer.Value) == false)
        {
            throw new JoinException(JoinFailure.NotAdmitted, peer is null
                ? "renewing needs the gateway's present certificate, and none was shown"
                : $"{peer} is not in the mesh's topology any more");
        }
        else
        {
            grant = ca.Issue(peer.Value, csr);
        }

        reply.Chain.AddRange(grant.Chain.Select(ByteString.CopyFrom));
        reply.Bundle.AddRange(grant.Bundle.Select(ByteString.CopyFrom));
        reply.Trust = grant.Trust;
        return (reply, peer.Value);
    }

    private List<TopologyFile> Files()
    {
        var files = topology().Select(f => new TopologyFile { Name = f.Name, Text = f.Text }).ToList();
        var bytes = files.Sum(f => f.CalculateSize());
        return bytes <= MaxTopologyBytes ? files
            : throw new JoinException(JoinFailure.Authority,
                $"the topology has {bytes} bytes; at most {MaxTopologyBytes} can be sent");
    }

    private static async Task<JoinOutcome> Refuse(Stream stream, JoinOutcome outcome, CancellationToken ct)
    {
        try
        {
            var refusal = (JoinRefusal)(int)outcome.Failure;
            await JoinFraming.WriteAsync(stream, new JoinReply { Refusal = refusal, Message = outcome.Message }, ct);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The peer is gone or too slow to be told; the outcome is logged all the same.
        }

        return outcome;
    }
}
