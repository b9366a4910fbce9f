using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Fabric.Drills.Definition;

namespace Fabric.Drills.Measurement;

/// <summary>
/// Hashed streams of a <see cref="Responder"/>, one after the other over a connection that stays: each byte is compared when it comes, and
/// the hash at the end. Each read is a sample, from the arrival before to this one. A connection that is silent is never given up: each
/// timeout without a byte is a failure.
/// </summary>
internal sealed class BulkLoad(ProbePlan plan, IPEndPoint target, SteadyTime time, OpenSocket open) : IProbeLoad
{
    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(100);

    private Action<ProbeSample> _seen = static _ => { };

    public ProbePlan Plan { get; } = plan;

    public Task RunAsync(Action<ProbeSample> seen, CancellationToken cancellationToken)
    {
        _seen = seen;
        return Task.WhenAll(Enumerable.Range(0, Plan.Connections).Select(index => Task.Factory.StartNew(
            () => new Connection(this, index, cancellationToken).Run(),
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default)));
    }

    private sealed class Connection(BulkLoad load, int index, CancellationToken ended)
    {
        private readonly SteadyTime _time = load.Time;
        private readonly byte[] _buffer = new byte[256 * 1024];
        private readonly byte[] _hash = new byte[SeededStream.HashSize];
        private ulong _seed = (ulong)load.Time.GetTimestamp() * 0x9E3779B97F4A7C15 ^ (ulong)index << 56;

        // The last arrival, or the last failure that was said.
        private long _last = load.Time.GetTimestamp();

        public void Run()
        {
            Promptness.Raise(Promptness.Many);
            while (!ended.IsCancellationRequested)
            {
                _last = _time.GetTimestamp();
                using var socket = ProbeSockets.Connect(load.Open, load.Target, load.Plan.Timeout, _time, ended, out var error);
                if (socket is null)
                {
                    if (error.Length > 0)
                    {
                        Say(0, error);
                        ended.WaitHandle.WaitOne(Again);
                    }

                    continue;
                }

                while (!ended.IsCancellationRequested && Stream(socket))
                {
                    _seed++;
                }
            }
        }

        /// <summary>One stream; false when the connection is of no use any more.</summary>
        private bool Stream(Socket socket)
        {
            var length = load.Plan.Bytes;
            using var expected = new SeededStream(_seed, length);
            Span<byte> request = stackalloc byte[SeededStream.RequestSize];
            SeededStream.WriteRequest(request, _seed, length);
            long place = 0;
            try
            {
                socket.Send(request);
                while (place < length)
                {
                    var count = Receive(socket, _buffer.AsSpan(0, (int)Math.Min(_buffer.Length, length - place)), _time);
                    if (count <= 0)
                    {
                        return count < 0 ? false : Lost("connection closed by the service", length - place);
                    }

                    if (!IsExpected(expected, place, _buffer.AsSpan(0, count)))
                    {
                        Say(count, "bytes that were not sent", wrong: true);
                        return false;
                    }

                    Say(count, "");
                    place += count;
                }

                for (var filled = 0; filled < _hash.Length;)
                {
                    var count = Receive(socket, _hash.AsSpan(filled), _time);
                    if (count <= 0)
                    {
                        return count < 0 ? false : Lost("connection closed by the service", 0);
                    }

                    filled += count;
                }

                if (!CryptographicOperations.FixedTimeEquals(_hash, expected.Finish()))
                {
                    Say(_hash.Length, "wrong hash", wrong: true);
                    return false;
                }

                Say(_hash.Length, "");
                return true;
            }
            catch (SocketException e)
            {
                return Lost(ProbeSockets.Name(e.SocketErrorCode), length - place);
            }
        }

        /// <summary>0 at the end of the connection, -1 when the load was ended.</summary>
        private int Receive(Socket socket, Span<byte> buffer, SteadyTime time)
        {
            var silent = _last;
            while (!socket.Poll(ProbeSockets.Turn, SelectMode.SelectRead))
            {
                if (ended.IsCancellationRequested)
                {
                    return -1;
                }

                if (time.GetElapsedTime(silent) >= load.Plan.Timeout)
                {
                    var until = silent + time.Stamps(load.Plan.Timeout);
                    load._seen(new ProbeSample(load.Plan.Name, index, time.At(silent), time.At(until), 0,
                        ProbeSockets.Late("no byte", load.Plan.Timeout), Dropped: false));
                    silent = until;
                }
            }

            return ended.IsCancellationRequested ? -1 : socket.Receive(buffer);
        }

        private static bool IsExpected(SeededStream expected, long place, ReadOnlySpan<byte> bytes)
        {
            while (bytes.Length > 0)
            {
                var block = expected.At(place);
                var part = Math.Min(block.Length, bytes.Length);
                if (!block[..part].SequenceEqual(bytes[..part]))
                {
                    return false;
                }

                expected.Hash(bytes[..part]);
                place += part;
                bytes = bytes[part..];
            }

            return true;
        }

        private bool Lost(string why, long bytes)
        {
            Say(0, why, dropped: true, lost: bytes);
            return false;
        }

        private void Say(long bytes, string error, bool dropped = false, long lost = 0, bool wrong = false)
        {
            var now = _time.GetTimestamp();
            load._seen(new ProbeSample(load.Plan.Name, index, _time.At(_last), _time.At(now), bytes, error, dropped, lost, wrong));
            _last = now;
        }
    }

    private IPEndPoint Target { get; } = target;

    private SteadyTime Time { get; } = time;

    private OpenSocket Open { get; } = open;
}
