using System.IO.Pipelines;

namespace Fabric.Gateway.Tests.Control;

/// <summary>Two ends of a connection in memory, with back pressure at 64 KiB.</summary>
internal sealed class DuplexStream : Stream
{
    private readonly PipeReader _input;
    private readonly PipeWriter _output;
    private readonly Stream _read;
    private readonly Stream _write;

    private DuplexStream(PipeReader input, PipeWriter output) =>
        (_input, _output, _read, _write) = (input, output, input.AsStream(), output.AsStream());

    public bool Disposed { get; private set; }

    public static (DuplexStream Near, DuplexStream Far) Pair()
    {
        var (up, down) = (new Pipe(), new Pipe());
        return (new DuplexStream(down.Reader, up.Writer), new DuplexStream(up.Reader, down.Writer));
    }

    /// <summary>As when the network resets the connection: both directions fail, at both ends.</summary>
    public void Break()
    {
        _output.Complete(new IOException("reset"));
        _input.CancelPendingRead();
        _input.Complete(new IOException("reset"));
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        _read.ReadAsync(buffer, cancellationToken);

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        _write.WriteAsync(buffer, cancellationToken);

    public override Task FlushAsync(CancellationToken cancellationToken) => _write.FlushAsync(cancellationToken);

    protected override void Dispose(bool disposing)
    {
        Disposed = true;
        _output.Complete();
        _input.CancelPendingRead();
        _input.Complete();
        base.Dispose(disposing);
    }

    public override bool CanRead => true;
    public override bool CanWrite => true;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("asynchronous only");
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("asynchronous only");
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
