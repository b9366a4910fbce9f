using Microsoft.AspNetCore.Http.Features;

namespace Fabric.Protocol.Grpc;

/// <summary>What a handler knows of the call that it answers.</summary>
public sealed class GrpcCall
{
    /// <summary><c>/package.Service/Method</c></summary>
    public required string Method { get; init; }

    /// <summary>Headers that the client sent, without those of the protocol.</summary>
    public required GrpcMetadata Metadata { get; init; }

    /// <summary>When the client gives up; null when it does not. <see cref="Cancellation"/> is cancelled then.</summary>
    public required DateTimeOffset? Deadline { get; init; }

    /// <summary>
    /// Cancelled when the client cancels or goes, and at the deadline, whichever is first. At the deadline the call is
    /// answered whether or not the handler has noticed.
    /// </summary>
    public required CancellationToken Cancellation { get; init; }

    /// <summary>
    /// Features of the request and, through it, of its connection, such as who the peer is. Gone once cancelled.
    /// </summary>
    public required IFeatureCollection Features { get; init; }

    /// <summary>Sent with the status, when that is not an exception with trailers of its own.</summary>
    public GrpcMetadata Trailers { get; } = [];
}
