using Fabric.Protocol.Proto;
using Fabric.Protocol.Proto.Health;
using Fabric.Protocol.Proto.Workload;
using Google.Protobuf;

namespace Fabric.Protocol.Grpc;

/// <summary>One method of a service, as server and client both name it.</summary>
/// <param name="Path"><c>/package.Service/Method</c></param>
public sealed record GrpcMethod<TRequest, TReply>(string Path)
    where TRequest : class, IMessage<TRequest>, new()
    where TReply : class, IMessage<TReply>, new()
{
    public MessageParser<TRequest> RequestParser { get; } = new(() => new TRequest());
    public MessageParser<TReply> ReplyParser { get; } = new(() => new TReply());
}

/// <summary>The methods of <c>admin.proto</c>.</summary>
public static class AdminMethods
{
    public static readonly GrpcMethod<GetStatusRequest, Status> GetStatus = new("/fabric.v1.Admin/GetStatus");

    /// <summary>Streams its replies.</summary>
    public static readonly GrpcMethod<GetStatusRequest, Status> WatchStatus = new("/fabric.v1.Admin/WatchStatus");
    public static readonly GrpcMethod<ReloadRequest, ReloadReply> Reload = new("/fabric.v1.Admin/Reload");
    public static readonly GrpcMethod<SetFaultRequest, SetFaultReply> SetFault = new("/fabric.v1.Admin/SetFault");
    public static readonly GrpcMethod<DrainRequest, DrainReply> Drain = new("/fabric.v1.Admin/Drain");
    public static readonly GrpcMethod<SignedTrust, PublishTrustReply> PublishTrust = new("/fabric.v1.Admin/PublishTrust");
    public static readonly GrpcMethod<ResolveNameRequest, ResolveNameReply> ResolveName = new("/fabric.v1.Admin/ResolveName");
}

/// <summary>The methods of <c>catalog.proto</c>.</summary>
public static class CatalogMethods
{
    /// <summary>Streams its replies.</summary>
    public static readonly GrpcMethod<CatalogWatchRequest, CatalogUpdate> Watch = new("/fabric.v1.Catalog/Watch");
}

/// <summary>The methods of <c>health.proto</c>.</summary>
public static class HealthMethods
{
    public static readonly GrpcMethod<HealthCheckRequest, HealthCheckResponse> Check = new("/grpc.health.v1.Health/Check");
}

/// <summary>The methods of <c>workload.proto</c>.</summary>
public static class WorkloadMethods
{
    /// <summary>Streams its replies.</summary>
    public static readonly GrpcMethod<X509SVIDRequest, X509SVIDResponse> FetchX509Svid = new("/SpiffeWorkloadAPI/FetchX509SVID");
}
