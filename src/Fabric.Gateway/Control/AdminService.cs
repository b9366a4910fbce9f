using System.Runtime.CompilerServices;
using Fabric.Gateway.Control.Transport;
using Fabric.Identity.Trust;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Tunnel;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Control;

/// <summary>The methods of <c>admin.proto</c>.</summary>
internal static class AdminService
{
    private static readonly TimeSpan _watchInterval = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan _maxDrain = TimeSpan.FromHours(1);

    /// <param name="stopping">Ends watches.</param>
    public static GrpcServer Serve(ControlServices services, TimeProvider time, ILogger log, CancellationToken stopping) =>
        new GrpcServer(time, log) { Admit = call => Admit(services, call), Stopping = stopping }
        .Unary(AdminMethods.GetStatus, (_, _) => Task.FromResult(Status(services)))
        .ServerStreaming(AdminMethods.WatchStatus, (_, call) => WatchAsync(services, time, call.Cancellation))
        .Unary(AdminMethods.Reload, (_, call) => ReloadAsync(services, call.Cancellation))
        .Unary(AdminMethods.SetFault, (request, _) => Task.FromResult(SetFault(services, request)))
        .Unary(AdminMethods.ResolveName, (request, _) => services.ResolveName(request))
        .Unary(AdminMethods.Drain, (request, call) => services.Drain(request, Limit(request.LimitSeconds), call.Cancellation))
        .Unary(AdminMethods.PublishTrust, (signed, _) => Task.FromResult(Publish(services, signed)))
        .Health(_ => services.Health.Ready().Count == 0);

    private static void Admit(ControlServices services, GrpcCall call)
    {
        if (services.AdmitAdmin(UnixPeer.UserOf(call.Features.Get<IConnectionSocketFeature>()?.Socket)) is { } refusal)
        {
            throw new GrpcException(GrpcStatus.ResourceExhausted, refusal);
        }
    }

    private static Status Status(ControlServices services) =>
        services.Status() ?? throw new GrpcException(GrpcStatus.Unavailable, "the gateway is starting");

    private static async IAsyncEnumerable<Status> WatchAsync(
        ControlServices services, TimeProvider time, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Status? sent = null;
        while (true)
        {
            var now = Status(services);
            // Only time has passed: nothing that anyone would call a change.
            if (sent is null || !Timeless(sent).Equals(Timeless(now)))
            {
                yield return now;
                sent = now;
            }

            await Task.Delay(_watchInterval, time, cancellationToken);
        }
    }

    private static Status Timeless(Status status)
    {
        var copy = status.Clone();
        (copy.UptimeSeconds, copy.CertificateExpiresInSeconds) = (0, 0);
        foreach (var link in copy.Links)
        {
            link.SinceSeconds = 0;
        }

        foreach (var upstream in copy.DnsUpstreams)
        {
            (upstream.RttMs, upstream.Queries) = (0, 0);
        }

        foreach (var gateway in copy.Sites.SelectMany(s => s.Gateways))
        {
            gateway.CatalogAgeSeconds = 0;
        }

        foreach (var report in copy.Trust?.Gateways ?? [])
        {
            report.Reported = 0;
        }

        return copy;
    }

    private static PublishTrustReply Publish(ControlServices services, SignedTrust signed)
    {
        try
        {
            return new PublishTrustReply { Version = services.PublishTrust(signed) };
        }
        catch (Exception e) when (e is TrustRefusedException or InvalidDataException)
        {
            throw new GrpcException(GrpcStatus.FailedPrecondition, e.Message);
        }
    }

    /// <summary>Answers when it is in force: whoever has asked goes by it from then on.</summary>
    private static async Task<ReloadReply> ReloadAsync(ControlServices services, CancellationToken cancellationToken)
    {
        try
        {
            var (revision, changed) = services.Reload();
            return await services.InForce(cancellationToken) ? new ReloadReply { Revision = revision, Changed = changed }
                : throw new GrpcException(GrpcStatus.Unavailable, $"topology {revision} was accepted and is not in force yet; fabric status says why");
        }
        catch (TopologyRefusedException e)
        {
            throw new GrpcException(GrpcStatus.InvalidArgument, e.Message);
        }
    }

    private static SetFaultReply SetFault(ControlServices services, SetFaultRequest request)
    {
        if (services.SetFault is not { } set)
        {
            throw new GrpcException(GrpcStatus.PermissionDenied, "this daemon was not started with --allow-faults");
        }

        var fault = request.Fault switch
        {
            "" => LinkFault.None,
            "cut" => LinkFault.Cut,
            "cut-in" => LinkFault.CutIn,
            "cut-out" => LinkFault.CutOut,
            _ => throw new GrpcException(GrpcStatus.InvalidArgument, $"fault '{request.Fault}' must be cut, cut-in, cut-out, or empty to clear"),
        };
        var links = set(request.Peer, request.Link, fault);
        return links > 0
            ? new SetFaultReply { Links = (uint)links }
            : throw new GrpcException(GrpcStatus.NotFound,
                $"this gateway has no link '{request.Link}'{(request.Peer.Length > 0 ? $" to {request.Peer}" : "")}");
    }

    private static TimeSpan Limit(double seconds) => double.IsFinite(seconds) && seconds >= 0
        ? TimeSpan.FromSeconds(Math.Min(seconds, _maxDrain.TotalSeconds))
        : throw new GrpcException(GrpcStatus.InvalidArgument, $"limit_seconds ({seconds}) must be from 0 to {_maxDrain.TotalSeconds:0}");
}
