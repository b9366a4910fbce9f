using System.IO.Pipelines;

namespace Fabric.Identity.Tests;

/// <summary>Two ends of a connection in memory: what one writes the other reads; closing one ends the other's reads.</summary>
internal sealed class DuplexStream : Stream
{
    private readonly Stream _in;
    private readonly Stream _out;
    private readonly PipeReader _reader;
    private readonly PipeWriter _writer;

    private DuplexStream(PipeReader reader, PipeWriter writer) =>
        (_reader, _writer, _in, _out) = (reader, writer, reader.AsStream(true), writer.AsStream(true));

    public static (Stream A, Stream B) Pair()
    {
        var there = new Pipe();
        var back = new Pipe();
        return (new DuplexStream(back.Reader, there.Writer), new DuplexStream(there.Reader, back.Writer));
    }

    public override bool CanRead => true;
    public override bool CanWrite => true;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override void Flush() => _out.Flush();
    public override Task FlushAsync(CancellationToken ct) => _out.FlushAsync(ct);
    public override int Read(byte[] buffer, int offset, int count) => _in.Read(buffer, offset, count);
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken ct = default) => _in.ReadAsync(buffer, ct);
    public override void Write(byte[] buffer, int offset, int count) => _out.Write(buffer, offset, count);
    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken ct = default) =>
        _out.WriteAsync(buffer, ct);
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        _writer.Complete();
        _reader.Complete();
        base.Dispose(disposing);
    }
}
