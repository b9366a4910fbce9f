using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>Notes what the core tells.</summary>
internal sealed class SessionNotes : ISessionDriver
{
    public List<StreamCore> Opened { get; } = [];

    public List<StreamCore> Readable { get; } = [];

    public List<StreamCore> Writable { get; } = [];

    public List<(StreamCore Stream, StreamCode Code)> Ended { get; } = [];

    public List<(string From, string To, string Why, int Streams)> Moves { get; } = [];

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

    void ISessionDriver.Moved(LaneCore from, LaneCore to, int streams, TimeSpan pause) => Moves.Add((from.Link, to.Link, from.LeaveReason, streams));
}
