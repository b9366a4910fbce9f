using Fabric.Protocol.Proto;

namespace Fabric.Protocol.Grpc;

/// <summary>The methods of <c>faults.proto</c>.</summary>
public static class FaultsMethods
{
    public static readonly GrpcMethod<ListFaultsRequest, FaultList> List = new("/fabric.v1.Faults/List");
    public static readonly GrpcMethod<ApplyFaultRequest, FaultList> Apply = new("/fabric.v1.Faults/Apply");
    public static readonly GrpcMethod<DrillFaultsRequest, FaultList> Renew = new("/fabric.v1.Faults/Renew");
    public static readonly GrpcMethod<DrillFaultsRequest, FaultList> Revert = new("/fabric.v1.Faults/Revert");

    /// <summary>Streams its replies.</summary>
    public static readonly GrpcMethod<GatewayEventsRequest, GatewayEvent> Events = new("/fabric.v1.Faults/Events");
}
