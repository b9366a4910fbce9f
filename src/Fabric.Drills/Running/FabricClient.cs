using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Drills.Running;

/// <summary>
/// What a controller asks of the fabric, all through the admin socket of one gateway: what is for another gateway, that one passes on. Every call has a
/// limit, and throws <see cref="GrpcException"/>.
/// </summary>
public sealed class FabricClient(GrpcClient admin)
{
    private static readonly GrpcCallOptions Ask = new() { Timeout = TimeSpan.FromSeconds(3) };
    private static readonly GrpcCallOptions Act = new() { Timeout = TimeSpan.FromSeconds(10) };

    public Task<Status> StatusAsync(CancellationToken cancellationToken) => admin.UnaryAsync(AdminMethods.GetStatus, new GetStatusRequest(), Ask, cancellationToken);

    public Task<FaultList> ListAsync(string gateway, CancellationToken cancellationToken) =>
        admin.UnaryAsync(FaultsMethods.List, new ListFaultsRequest { Gateway = gateway }, Ask, cancellationToken);

    public Task<FaultList> ApplyAsync(string gateway, FaultSpec fault, CancellationToken cancellationToken) =>
        admin.UnaryAsync(FaultsMethods.Apply, new ApplyFaultRequest { Gateway = gateway, Fault = fault }, Act, cancellationToken);

    public Task<FaultList> RenewAsync(string gateway, string drill, CancellationToken cancellationToken) =>
        admin.UnaryAsync(FaultsMethods.Renew, new DrillFaultsRequest { Gateway = gateway, Drill = drill }, Ask, cancellationToken);

    /// <param name="drill">Empty: whatever is in force there.</param>
    public Task<FaultList> RevertAsync(string gateway, string drill, CancellationToken cancellationToken) =>
        admin.UnaryAsync(FaultsMethods.Revert, new DrillFaultsRequest { Gateway = gateway, Drill = drill }, Act, cancellationToken);

    public IAsyncEnumerable<GatewayEvent> EventsAsync(string gateway, long sinceUnixUs, CancellationToken cancellationToken) =>
        admin.ServerStreamingAsync(FaultsMethods.Events, new GatewayEventsRequest { Gateway = gateway, SinceUnixUs = sinceUnixUs }, null, cancellationToken);
}
