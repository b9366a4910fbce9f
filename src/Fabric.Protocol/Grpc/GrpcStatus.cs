namespace Fabric.Protocol.Grpc;

/// <summary>How a call ended; the numbers are on the wire in <c>grpc-status</c> (gRPC statuscodes.md).</summary>
public enum GrpcStatus
{
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// <summary>
/// A call failed. A handler throws it to answer with that status; a client gets it for every status other than
/// <see cref="GrpcStatus.Ok"/>, and for what never reached the server (<see cref="GrpcStatus.Unavailable"/>).
/// </summary>
public sealed class GrpcException(GrpcStatus status, string detail, Exception? inner = null)
    : Exception($"{status}: {detail}", inner)
{
    public GrpcStatus Status { get; } = status;

    /// <summary>What <c>grpc-message</c> says: any Unicode text, without the status in front.</summary>
    public string Detail { get; } = detail;

    /// <summary>Metadata that came, or goes, with the status.</summary>
    public GrpcMetadata Trailers { get; init; } = [];
}
