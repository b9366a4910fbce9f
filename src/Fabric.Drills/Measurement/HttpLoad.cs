using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Drills.Definition;
using Fabric.Protocol.Http;

namespace Fabric.Drills.Measurement;

/// <summary>
/// GET requests over connections that stay, one at a time on each. A request is due whether or not a connection is free, and its time runs
/// from then: a service that stands still makes all wait that would have come. Good is a status of 200 to 399, read to its end.
/// A connection that the service closes between two requests is no dropped one: HTTP lets it.
/// </summary>
internal sealed class HttpLoad(ProbePlan plan, IPEndPoint target, string host, SteadyTime time, OpenSocket open) : IProbeLoad
{
    /// <summary>Requests that wait for a connection; what would be more is not sent.</summary>
    public const int MaxWaiting = 1024;

    private readonly byte[] _request = Encoding.ASCII.GetBytes(
        $"GET {Checked(plan.Path, "path")} HTTP/1.1\r\nHost: {Checked(host, "host")}\r\nUser-Agent: fabric-drill\r\nAccept: */*\r\n\r\n");

    private Action<ProbeSample> _seen = static _ => { };

    public ProbePlan Plan { get; } = plan;

    public Task RunAsync(Action<ProbeSample> seen, CancellationToken cancellationToken)
    {
        _seen = seen;
        var due = new BlockingCollection<long>(MaxWaiting);
        return Task.WhenAll([
            Start(() => Pace(due, cancellationToken)),
            .. Enumerable.Range(0, Plan.Connections).Select(index => Start(() => Work(index, due))),
        ]);

        static Task Start(Action run) =>
            Task.Factory.StartNew(run, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    private static string Checked(string text, string what) => text.All(c => c is > ' ' and < (char)127) && text.Length is > 0 and <= 2048
        ? text : throw new ArgumentException($"the {what} of an http probe is 1 to 2,048 letters of ASCII without blanks: '{text}'");

    private void Pace(BlockingCollection<long> due, CancellationToken ended)
    {
        Promptness.Raise(Promptness.Few);
        var began = time.GetTimestamp();
        for (long number = 0; ; number++)
        {
            var at = began + (long)(number * (double)time.TimestampFrequency / Plan.PerSecond);
            var early = time.GetElapsedTime(time.GetTimestamp(), at);
            if (early > TimeSpan.Zero ? ended.WaitHandle.WaitOne(early) : ended.IsCancellationRequested)
            {
                due.CompleteAdding();
                return;
            }

            if (!due.TryAdd(at))
            {
                _seen(new ProbeSample(Plan.Name, 0, time.At(at), time.At(at), 0,
                    $"not sent: {MaxWaiting} requests wait for a connection", Dropped: false, Unsent: true));
            }
        }
    }

    private void Work(int index, BlockingCollection<long> due)
    {
        Promptness.Raise(Promptness.Few);
        HttpConnection? connection = null;
        foreach (var at in due.GetConsumingEnumerable())
        {
            var deadline = at + time.Stamps(Plan.Timeout);
            if (time.GetTimestamp() >= deadline)
            {
                Say(index, at, deadline, 0, ProbeSockets.Late("no free connection", Plan.Timeout), false);
                continue;
            }

            if (connection?.EndedMeanwhile(out var wasReset) == true)
            {
                connection.Dispose();
                connection = null;
                if (wasReset)
                {
                    var now = time.GetTimestamp();
                    _seen(new ProbeSample(Plan.Name, index, time.At(now), time.At(now), 0, "connection reset", Dropped: true, Again: true));
                }
            }

            if (connection is null)
            {
                var left = time.GetElapsedTime(time.GetTimestamp(), deadline);
                var socket = ProbeSockets.Connect(open, target, left, time, CancellationToken.None, out var why);
                if (socket is null)
                {
                    // By the limit and not by what was left of it: the same words each time.
                    why = why.EndsWith(" s", StringComparison.Ordinal) ? ProbeSockets.Late("no connection", Plan.Timeout) : why;
                    Say(index, at, time.GetTimestamp(), 0, why, false);
                    continue;
                }

                connection = new HttpConnection(socket, time);
            }

            var (bytes, error, dropped) = connection.Get(_request, deadline, Plan.Timeout);
            Say(index, at, time.GetTimestamp(), bytes, error, dropped);
            if (!connection.Stays)
            {
                connection.Dispose();
                connection = null;
            }
        }

        connection?.Dispose();
    }

    private void Say(int index, long began, long ended, long bytes, string error, bool dropped) =>
        _seen(new ProbeSample(Plan.Name, index, time.At(began), time.At(ended), bytes, error, dropped));
}

/// <summary>One connection, one request after the other.</summary>
internal sealed class HttpConnection(Socket socket, SteadyTime time) : IDisposable
{
    private readonly byte[] _buffer = new byte[Http1Fields.MaxBytes];
    private readonly Http1Response _head = new();
    private int _from;
    private int _to;
    private long _deadline;
    private long _bytes;

    /// <summary>Another request may be sent on it.</summary>
    public bool Stays { get; private set; } = true;

    /// <summary>Whether the service closed it since the last answer.</summary>
    public bool EndedMeanwhile(out bool wasReset)
    {
        wasReset = false;
        try
        {
            // What comes now was not asked for: an end, or nothing that is known.
            return socket.Poll(TimeSpan.Zero, SelectMode.SelectRead) && socket.Receive(_buffer) >= 0;
        }
        catch (SocketException)
        {
            wasReset = true;
            return true;
        }
    }

    /// <summary>Bytes of the body, and an error that is empty when all went well.</summary>
    public (long Bytes, string Error, bool Dropped) Get(byte[] request, long deadline, TimeSpan timeout)
    {
        (_deadline, _bytes, _from, _to) = (deadline, 0, 0, 0);
        Stays = false;
        try
        {
            socket.Send(request);
            do
            {
                ReadHead();
            }
            while (_head.IsInterim);
            ReadBody();
            Stays = !_head.Closes && _from == _to;
            return (_bytes, _head.Status is >= 200 and < 400 ? "" : $"status {_head.Status}", false);
        }
        catch (TimeoutException)
        {
            return (_bytes, ProbeSockets.Late("no whole answer", timeout), false);
        }
        catch (HttpRefusedException e)
        {
            return (_bytes, e.Message, false);
        }
        catch (EndOfStreamException)
        {
            return (_bytes, "connection closed before the answer's end", true);
        }
        catch (SocketException e)
        {
            return (_bytes, ProbeSockets.Name(e.SocketErrorCode), true);
        }
    }

    public void Dispose() => socket.Dispose();

    private void ReadHead()
    {
        for (var looked = _from; ;)
        {
            var end = Http1Fields.End(_buffer.AsSpan(0, _to)[_from..], looked - _from);
            if (end >= 0)
            {
                _head.Read(_buffer.AsMemory(_from, end), "GET", upgrades: false);
                _from += end;
                return;
            }

            looked = _to;
            if (_to == _buffer.Length)
            {
                throw new HttpRefusedException(502, "the response's head is longer than 64 KiB");
            }

            _to += Receive(_buffer.AsSpan(_to));
        }
    }

    private void ReadBody()
    {
        switch (_head.Body)
        {
            case HttpBody.Length:
                Skip(_head.Length);
                break;
            case HttpBody.Chunked:
                ReadChunks();
                break;
            case HttpBody.UntilClose:
                try
                {
                    Skip(long.MaxValue);
                }
                catch (EndOfStreamException)
                {
                    // That is how its end is known.
                }

                break;
            default:
                break;
        }
    }

    private void ReadChunks()
    {
        while (true)
        {
            var line = Line();
            var end = line.IndexOf((byte)';');
            if (!long.TryParse(Encoding.ASCII.GetString(end < 0 ? line : line[..end]).Trim(), System.Globalization.NumberStyles.AllowHexSpecifier,
                System.Globalization.CultureInfo.InvariantCulture, out var length) || length < 0)
            {
                throw new HttpRefusedException(502, "the length of a chunk is no number");
            }

            if (length == 0)
            {
                while (Line().Length > 0)
                {
                    // A trailer.
                }

                return;
            }

            Skip(length);
            if (Line().Length > 0)
            {
                throw new HttpRefusedException(502, "a chunk is longer than it says");
            }
        }
    }

    private void Skip(long count)
    {
        while (count > 0)
        {
            if (_from == _to)
            {
                (_from, _to) = (0, Receive(_buffer));
            }

            var part = (int)Math.Min(count, _to - _from);
            (_from, count, _bytes) = (_from + part, count - part, _bytes + part);
        }
    }

    /// <summary>Up to CRLF, which is taken; at most 64 KiB.</summary>
    private ReadOnlySpan<byte> Line()
    {
        while (true)
        {
            var rest = _buffer.AsSpan(_from, _to - _from);
            var end = rest.IndexOf("\r\n"u8);
            if (end >= 0)
            {
                _from += end + 2;
                return rest[..end];
            }

            rest.CopyTo(_buffer);
            (_from, _to) = (0, rest.Length);
            if (_to == _buffer.Length)
            {
                throw new HttpRefusedException(502, "a line of the response is longer than 64 KiB");
            }

            _to += Receive(_buffer.AsSpan(_to));
        }
    }

    private int Receive(Span<byte> buffer)
    {
        var left = time.GetElapsedTime(time.GetTimestamp(), _deadline);
        if (left <= TimeSpan.Zero || !socket.Poll(left, SelectMode.SelectRead))
        {
            throw new TimeoutException();
        }

        var count = socket.Receive(buffer);
        return count > 0 ? count : throw new EndOfStreamException();
    }
}
