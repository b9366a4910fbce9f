using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Tests.Dns;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using Xunit.Abstractions;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// A site is lost, by SIGKILL or SIGSTOP of its gateway, while DNS answers about 10,000 queries a second. What the names say stays true: what lives is answered
/// all the time, and what is gone no longer than a site is believed that says nothing. Killed, its connections end at once; stopped, they stay open and
/// everything that is sent to it is taken by its kernel: only silence tells.
/// </summary>
public sealed class SiteLossUnderLoadTests(ITestOutputHelper output)
{
    private const string Domain = ".svc.clusterset.local";
    private const int Rate = 10_000;

    /// <summary>Queries under way at most: a machine that does other things is asked more slowly, and not drowned.</summary>
    private const int Window = 200;

    private static readonly TimeSpan _before = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan _after = TimeSpan.FromSeconds(2);

    /// <summary>A site is believed for 5 s after its last word. The rest is for threads that wait for a core, on either side.</summary>
    private static readonly TimeSpan _bound = TimeSpan.FromSeconds(5 + 2);

    /// <summary>Of 1,000 queries, those that may stay unanswered: UDP promises nothing, not even on the loopback.</summary>
    private const int LostPerMille = 1;

    private readonly int _port = FreePorts.Take(1)[0];

    [Theory]
    [InlineData("killed")]
    [InlineData("stopped")]
    public async Task A_site_is_lost_under_ten_thousand_queries_a_second_and_no_answer_is_untrue(string how)
    {
        await using var fabric = await StartAsync(killable: Virginia);
        using var zero = new NamedEndpoint("db-0 of virginia");
        using var far = new NamedEndpoint("db-0 of factory");
        fabric.Write(fabric.Topology($$"""
              - name: db
                namespace: shop
                headless: true
                ports: [ { name: pg, port: {{_port}} } ]
                exports:
                  - { site: virginia, endpoints: [ { host: db-0, address: "127.0.0.1:{{zero.Port}}" } ] }
                  - { site: factory, endpoints: [ { host: db-0, address: "127.0.0.1:{{far.Port}}" } ] }

            """).Replace("  - name: web\n", "  - name: web\n    siteNames: true\n"));
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            await fabric.Admin(gateway).ReloadAsync();
        }

        await fabric.Admin(Paris).UntilAsync(s => s.Services.Count == 2 && s.Services.All(v => v.Sites.All(x => x.State == "healthy")));
        using var load = new Load(fabric.Dns,
        [
            new("web.shop", DnsType.A, Lives: true), new("web.shop.factory.site", DnsType.A, Lives: true), new("web.shop.virginia.site", DnsType.A, Lives: false),
            new("db.shop", DnsType.A, Lives: true), new("_pg._tcp.db.shop", DnsType.Srv, Lives: true),
            new("db-0.factory.db.shop", DnsType.A, Lives: true), new("db-0.virginia.db.shop", DnsType.A, Lives: false),
            new("db.shop.virginia.site", DnsType.A, Lives: false), new("db.shop.factory.site", DnsType.A, Lives: true),
        ]);
        await Wait.UntilAsync(() => load.Names.All(n => load.Ask(n).Answers.Length > 0), () => "every name is answered");
        var gone = new HashSet<string>(load.Names.Where(n => !n.Lives).SelectMany(n => load.Ask(n).Answers).Select(Text));

        var since = Stopwatch.StartNew();
        load.Start();
        await Task.Delay(_before);
        Action lose = how == "killed" ? fabric.Kill : fabric.Freeze;
        lose();
        var lost = since.Elapsed;
        await Task.Delay(_bound + _after);
        var (asked, answers) = load.Stop();

        var rate = asked / since.Elapsed.TotalSeconds;
        output.WriteLine($"{asked} queries, {rate:0} a second, {answers.Count} answers");
        Assert.True(answers.Count >= asked - asked * LostPerMille / 1000, $"{answers.Count} of {asked} queries were answered");

        // What lives is answered with data, whenever it was asked; nothing that is gone is named by what was asked after the bound.
        Assert.Empty(answers.Where(a => a.Name.Lives && (a.Rcode != DnsRcode.NoError || a.Data.Length == 0)).Take(3).Select(a => $"{a.At}: {a.Name}: {a.Rcode} {a.Data.Length}"));
        Assert.Empty(answers.Where(a => a.Rcode == DnsRcode.ServFail).Take(3).Select(a => $"{a.At}: {a.Name}"));
        var late = answers.Where(a => a.At > lost + _bound).ToList();
        Assert.True(late.Count > 0 && load.Names.All(n => late.Exists(a => a.Name == n)), "every name was asked after the bound");
        Assert.Empty(late.Where(a => !a.Name.Lives && a.Data.Length > 0 || a.Data.Any(gone.Contains)).Take(3).Select(a => $"{a.At - lost} after: {a.Name}: {string.Join(' ', a.Data)}"));

        // The test can tell: before, all of it was named.
        var early = answers.Where(a => a.At < lost).ToList();
        Assert.True(load.Names.Where(n => !n.Lives).All(n => early.Exists(a => a.Name == n && a.Data.Any(gone.Contains))), "what is gone was answered before");
        var last = answers.Where(a => a.Data.Any(gone.Contains)).Max(a => a.At) - lost;
        output.WriteLine($"the last answer that names what is gone was asked for {last.TotalSeconds:0.00} s after it was {how}");
    }

    /// <summary>An address, or the target of SRV.</summary>
    private static string Text(DnsRecord record) => record.Data is DnsSrv srv ? $"{srv.Target}" : $"{Assert.IsType<DnsAddress>(record.Data).Address}";

    /// <param name="Lives">Whether it still means something when virginia is gone.</param>
    private sealed record Asked(string Name, DnsType Type, bool Lives);

    private sealed record Told(Asked Name, TimeSpan At, DnsRcode Rcode, string[] Data);

    /// <summary>Asks names in turn, at <see cref="Rate"/> while no more than <see cref="Window"/> queries are under way. One socket, a thread for each way.</summary>
    private sealed class Load : IDisposable
    {
        /// <summary>As long as a resolver of an application waits (resolv.conf's own timeout).</summary>
        private static readonly TimeSpan _lost = TimeSpan.FromSeconds(5);

        private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = 4 << 20, ReceiveTimeout = 200 };
        private readonly byte[][] _queries;
        private readonly (Asked Name, TimeSpan At)?[] _under = new (Asked, TimeSpan)?[1 << 16];
        private readonly List<Told> _told = [];
        private readonly Lock _lock = new();
        private readonly Stopwatch _clock = new();
        private readonly Thread _sender;
        private readonly Thread _receiver;
        private volatile bool _stopped;
        private TimeSpan _stoppedAt;
        private int _flying;
        private Exception? _failed;
        private int _sent;

        public Load(IPEndPoint server, Asked[] names)
        {
            Names = names;
            _queries = [.. names.Select(n => DnsFixtures.Query(n.Name + Domain, n.Type).Bytes())];
            _socket.Connect(server);
            (_sender, _receiver) = (new Thread(Send) { IsBackground = true }, new Thread(Receive) { IsBackground = true });
        }

        public Asked[] Names { get; }

        /// <summary>One, alone.</summary>
        public DnsMessage Ask(Asked name)
        {
            _socket.Send(_queries[Array.IndexOf(Names, name)]);
            var buffer = new byte[1500];
            return DnsFixtures.Read(buffer.AsSpan(0, _socket.Receive(buffer)));
        }

        public void Start()
        {
            _clock.Start();
            _sender.Start();
            _receiver.Start();
        }

        public (int Asked, List<Told> Answers) Stop()
        {
            _stoppedAt = _clock.Elapsed;
            _stopped = true;
            _sender.Join();
            _receiver.Join();
            Assert.Null(_failed);
            return (_sent, _told);
        }

        public void Dispose()
        {
            _stopped = true;
            _socket.Dispose();
        }

        private void Send()
        {
            var oldest = 0;
            while (!_stopped)
            {
                var due = (int)(_clock.Elapsed.TotalSeconds * Rate);
                for (var burst = 0; _sent < due && burst < 50 && Volatile.Read(ref _flying) < Window; burst++)
                {
                    var (id, which) = ((ushort)_sent, _sent % _queries.Length);
                    var query = _queries[which];
                    (query[0], query[1]) = ((byte)(id >> 8), (byte)id);
                    lock (_lock)
                    {
                        _under[id] = (Names[which], _clock.Elapsed);
                        _flying++;
                    }

                    _socket.Send(query);
                    _sent++;
                }

                lock (_lock)
                {
                    // What is lost makes room; it is never answered as far as this test is concerned.
                    for (; oldest < _sent && (_under[(ushort)oldest] is not { } under || _clock.Elapsed - under.At > _lost); oldest++)
                    {
                        _flying -= _under[(ushort)oldest] is null ? 0 : 1;
                        _under[(ushort)oldest] = null;
                    }
                }

                Thread.Sleep(1);
            }
        }

        private void Receive()
        {
            var buffer = new byte[1500];
            while (true)
            {
                try
                {
                    var length = _socket.Receive(buffer);
                    Hear(DnsFixtures.Read(buffer.AsSpan(0, length)));
                }
                catch (SocketException e) when (e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock)
                {
                    // What is still under way is waited for as long as any other.
                    if (_stopped && (Volatile.Read(ref _flying) == 0 || _clock.Elapsed - _stoppedAt > _lost))
                    {
                        return;
                    }
                }
                catch (Exception e)
                {
                    _failed = e;
                    return;
                }
            }
        }

        private void Hear(DnsMessage message)
        {
            lock (_lock)
            {
                if (_under[message.Id] is { } under)
                {
                    Assert.Equal(DnsName.Parse(under.Name.Name + Domain), message.Questions[0].Name);
                    _under[message.Id] = null;
                    _flying--;
                    _told.Add(new Told(under.Name, under.At, message.Rcode, [.. message.Answers.Select(Text)]));
                }
            }
        }
    }
}
