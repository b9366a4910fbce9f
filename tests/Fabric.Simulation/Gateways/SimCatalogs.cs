using System.Buffers.Binary;
using Fabric.Gateway.Catalog;
using Fabric.Protocol.Proto;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;
using Google.Protobuf;

namespace Fabric.Simulation.Gateways;

/// <summary>
/// Catalogs over a reserved stream of the session with each peer: the daemon's own publisher, messages and views, with a length before
/// each message in place of gRPC.
/// </summary>
internal sealed class SimCatalogs(World world, SimGateway gateway) : ICatalogs
{
    public const string Service = "fabric.control";

    private readonly SortedDictionary<string, Watch> _watches = new(StringComparer.Ordinal);
    private readonly List<Serving> _serving = [];

    public PeerCatalog? Of(string peer) => _watches.GetValueOrDefault(peer)?.Catalog;

    public void Reconcile(IReadOnlySet<string> peers)
    {
        foreach (var gone in _watches.Keys.Where(p => !peers.Contains(p)).ToArray())
        {
            _watches[gone].Stop();
            _watches.Remove(gone);
        }

        foreach (var peer in peers.Where(p => !_watches.ContainsKey(p)).Order(StringComparer.Ordinal).ToArray())
        {
            _watches[peer] = new Watch(world, gateway, peer);
        }
    }

    public void Retry(string peer) => _watches.GetValueOrDefault(peer)?.Retry();

    public void Serve(SimSession session, StreamCore stream)
    {
        _serving.RemoveAll(s => s.IsOver);
        _serving.Add(new Serving(world, gateway, session, stream));
    }

    public void PublisherMayHaveNews()
    {
        foreach (var serving in _serving)
        {
            serving.Tell(onlyNews: true);
        }
    }

    /// <summary>The publishing end of one watch.</summary>
    private sealed class Serving : IStreamEnd
    {
        private readonly World _world;
        private readonly SimGateway _gateway;
        private readonly SimSession _session;
        private readonly StreamCore _stream;
        private readonly CatalogPublisher.Feed _feed;
        private readonly Queue<byte> _unwritten = new();

        public Serving(World world, SimGateway gateway, SimSession session, StreamCore stream)
        {
            (_world, _gateway, _session, _stream) = (world, gateway, session, stream);
            _feed = gateway.Publisher.NewFeed();
            stream.Owner = this;
            stream.Accept(world.Now);
            Beat();
        }

        public bool IsOver => _stream.IsReset || _stream.IsGone;

        public void Tell(bool onlyNews)
        {
            // A watcher that does not read is told the newest once it does.
            if (!IsOver && _unwritten.Count == 0 && (!onlyNews || _feed.HasNews))
            {
                var message = _feed.Next().ToByteArray();
                var length = new byte[4];
                BinaryPrimitives.WriteInt32LittleEndian(length, message.Length);
                foreach (var b in length.Concat(message))
                {
                    _unwritten.Enqueue(b);
                }

                Write();
            }
        }

        private void Beat()
        {
            if (!IsOver)
            {
                Tell(onlyNews: false);
                _gateway.After(CatalogPublisher.Heartbeat, Beat);
            }
        }

        private void Write()
        {
            var count = (int)Math.Min(_unwritten.Count, IsOver ? 0 : _stream.Room);
            if (count > 0)
            {
                var bytes = new byte[count];
                for (var i = 0; i < count; i++)
                {
                    bytes[i] = _unwritten.Dequeue();
                }

                _stream.WriteCopy(bytes, _world.Now);
                _session.Rearm();
            }
        }

        public void Opened()
        {
        }

        public void Wake() => _gateway.AfterMs(0, 1, Write);

        public void Ended()
        {
        }
    }

    /// <summary>The watching end.</summary>
    private sealed class Watch : IStreamEnd
    {
        private readonly World _world;
        private readonly SimGateway _gateway;
        private readonly string _peer;
        private readonly List<byte> _read = [];
        private TimeSpan _wait = CatalogWatcher.Backoff;
        private TimeSpan _heard;
        private StreamCore? _stream;
        private PeerCatalog? _now;
        private int _attempt;
        private bool _stopped;

        public Watch(World world, SimGateway gateway, string peer)
        {
            (_world, _gateway, _peer) = (world, gateway, peer);
            gateway.AfterMs(0, 1, Begin);
        }

        public PeerCatalog? Catalog { get; private set; }

        public void Stop()
        {
            _stopped = true;
            GiveUp();
        }

        /// <summary>The session changed: watch now, unless it is watched.</summary>
        public void Retry()
        {
            if (_stream is null)
            {
                Begin();
            }
        }

        private void Begin()
        {
            if (_stopped || _stream is not null)
            {
                return;
            }

            _attempt++;
            _now = null;
            _read.Clear();
            _heard = _world.Now;
            try
            {
                _stream = _gateway.Tunnel.Session(_peer)?.Open(
                    new StreamOpen(Service, 0, $"spiffe://acme.example/site/{_gateway.Plan.Site}/gateway/{_gateway.Name}"), this);
                _world.Counters.Watches++;
            }
            catch (StreamRefusedException)
            {
                _stream = null;
            }

            if (_stream is null)
            {
                Later();
            }
            else
            {
                WatchSilence(_attempt);
            }
        }

        private void WatchSilence(int attempt) => _gateway.After(CatalogWatcher.Silence - (_world.Now - _heard), () =>
        {
            if (attempt != _attempt || _stream is null)
            {
                return;
            }

            if (_world.Now - _heard >= CatalogWatcher.Silence)
            {
                GiveUp();
                Later();
            }
            else
            {
                WatchSilence(attempt);
            }
        });

        private void GiveUp()
        {
            var stream = _stream;
            _stream = null;
            stream?.Reset(StreamCode.ApplicationReset, "the watch is over", _world.Now);
        }

        private void Later()
        {
            var attempt = _attempt;
            _gateway.After(_wait, () =>
            {
                if (attempt == _attempt)
                {
                    Begin();
                }
            });
            _wait = _wait * 2 < CatalogWatcher.MaxBackoff ? _wait * 2 : CatalogWatcher.MaxBackoff;
        }

        public void Opened()
        {
        }

        public void Wake() => _gateway.AfterMs(0, 1, Read);

        public void Ended()
        {
            if (_stream is not null)
            {
                _gateway.AfterMs(0, 1, () =>
                {
                    if (_stream is { IsReset: true } or { IsGone: true })
                    {
                        _stream = null;
                        Later();
                    }
                });
            }
        }

        private void Read()
        {
            while (_stream is { IsReset: false, Receive.ReadySegments: > 0 } stream)
            {
                var head = stream.Receive.Ready(0);
                _read.AddRange(head.Span);
                stream.Consume(head.Length, _world.Now);
            }

            while (_read.Count >= 4 && Length() is var length && _read.Count >= 4 + length)
            {
                var update = CatalogUpdate.Parser.ParseFrom([.. _read[4..(4 + length)]]);
                _read.RemoveRange(0, 4 + length);
                _heard = _world.Now;
                _wait = CatalogWatcher.Backoff;
                // It throws when a message is missing: a stream that loses none never makes it.
                Catalog = _now = PeerCatalog.Apply(_now, update, _world.Time.GetTimestamp());
                _gateway.Signal();
            }
        }

        private int Length() => BinaryPrimitives.ReadInt32LittleEndian([.. _read[..4]]);
    }
}
