using System.Net.Sockets;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Lab.Faults;

/// <summary>The controller of a drill, as far as a fault can tell: it has it applied, and renews it until it is killed.</summary>
internal static class HoldFaultProgram
{
    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(150);

    /// <param name="request">An <see cref="ApplyFaultRequest"/> as JSON.</param>
    public static async Task<int> Run(string socket, string request)
    {
        using var invoker = GrpcHandler.OverStreams(async cancel =>
        {
            var unix = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await unix.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancel);
            return new NetworkStream(unix, ownsSocket: true);
        });
        var admin = new GrpcClient(invoker, GrpcHandler.StreamAuthority, TimeProvider.System);
        var asked = JsonParser.Default.Parse<ApplyFaultRequest>(request);
        await admin.UnaryAsync(FaultsMethods.Apply, asked);
        Console.WriteLine("applied");
        while (true)
        {
            await Task.Delay(Every);
            try
            {
                await admin.UnaryAsync(FaultsMethods.Renew, new DrillFaultsRequest { Gateway = asked.Gateway, Drill = asked.Fault.Drill });
            }
            catch (GrpcException)
            {
                // A gateway that was killed is not reached; who holds its fault goes on trying.
            }
        }
    }
}
