using System.IO.Pipelines;

namespace Fabric.Gateway.Control.Transport;

/// <summary>
/// Writes to a stream as Kestrel expects a transport to: that the other side is gone is no exception of a flush, but its result. Else each
/// stream that ends while an answer is under way would be logged as an unexpected error.
/// </summary>
internal sealed class TransportWriter(Stream stream) : PipeWriter
{
    // The stream is disposed by whoever handed it in.
    private readonly PipeWriter _writer = Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
    private volatile bool _isGone;

    public override bool CanGetUnflushedBytes => _writer.CanGetUnflushedBytes;

    public override long UnflushedBytes => _writer.UnflushedBytes;

    public override async ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
    {
        if (!_isGone)
        {
            try
            {
                return await _writer.FlushAsync(cancellationToken);
            }
            catch (Exception e) when (IsEnd(e))
            {
                _isGone = true;
            }
        }

        return new FlushResult(isCanceled: false, isCompleted: true);
    }

    public override void Advance(int bytes) => _writer.Advance(bytes);

    public override Memory<byte> GetMemory(int sizeHint = 0) => _writer.GetMemory(sizeHint);

    public override Span<byte> GetSpan(int sizeHint = 0) => _writer.GetSpan(sizeHint);

    public override void CancelPendingFlush() => _writer.CancelPendingFlush();

    public override void Complete(Exception? exception = null)
    {
        try
        {
            _writer.Complete(exception);
        }
        catch (Exception e) when (IsEnd(e))
        {
            _isGone = true;
        }
    }

    public override async ValueTask CompleteAsync(Exception? exception = null)
    {
        try
        {
            await _writer.CompleteAsync(exception);
        }
        catch (Exception e) when (IsEnd(e))
        {
            // What was left to be written cannot be any more: the stream went first.
            _isGone = true;
        }
    }

    private static bool IsEnd(Exception e) => e is IOException or ObjectDisposedException or InvalidOperationException;
}
