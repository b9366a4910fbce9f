using System.IO.Pipelines;
using System.Net;
using Microsoft.AspNetCore.Connections;

namespace Fabric.Gateway.Control.Transport;

/// <summary>A stream as Kestrel sees a connection. Kestrel disposes it when it is done with it.</summary>
internal sealed class StreamConnection : DefaultConnectionContext
{
    // The pipes are disposed with the connection, and the stream by whoever handed it in.
    private static readonly StreamPipeReaderOptions ReaderOptions = new(leaveOpen: true);

    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _closed = new();
    private readonly Stream _stream;

    public StreamConnection(string id, EndPoint endPoint, Stream stream, PeerFeature peer)
        : base(id)
    {
        _stream = stream;
        Transport = new DuplexPipe(PipeReader.Create(stream, ReaderOptions), new TransportWriter(stream));
        ConnectionClosed = _closed.Token;
        LocalEndPoint = endPoint;
        Features.Set(peer);
    }

    /// <summary>Ends when the connection is disposed; never faults.</summary>
    public Task Completed => _completed.Task;

    public override void Abort(ConnectionAbortedException abortReason)
    {
        _ = _closed.CancelAsync();
        Transport.Input.CancelPendingRead();
        // A write that waits for a peer that does not read ends only with the stream.
        _stream.Dispose();
    }

    public override async ValueTask DisposeAsync()
    {
        await Transport.Input.CompleteAsync();
        await Transport.Output.CompleteAsync();
        await base.DisposeAsync();
        _completed.TrySetResult();
    }

    private sealed record DuplexPipe(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
