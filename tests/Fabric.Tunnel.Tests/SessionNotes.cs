using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>Notes what the core tells.</summary>
internal sealed class SessionNotes : ISessionDriver
{
    public List<StreamCore> Opened { get; } = [];

    public List<StreamCore> Readable { get; } = [];

    public List<StreamCore> Writable { get; } = [];

    public List<(StreamCore Stream, StreamCode Code)> Ended { get; } = [];

    void ISessionDriver.OutputReady(LaneCore lane)
    {
    }

    void ISessionDriver.LaneEnded(LaneCore lane, string reason)
    {
    }

    void ISessionDriver.OpenRequested(StreamCore stream) => Opened.Add(stream);

    void ISessionDriver.Opened(StreamCore stream)
    {
    }

    void ISessionDriver.Readable(StreamCore stream) => Readable.Add(stream);

    void ISessionDriver.Writable(StreamCore stream) => Writable.Add(stream);

    void ISessionDriver.Ended(StreamCore stream) => Ended.Add((stream, stream.Code));
}
