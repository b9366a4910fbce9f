using System.Net;
using System.Net.Sockets;
using Fabric.Drills.Definition;
using Fabric.Protocol.Dns;

namespace Fabric.Drills.Measurement;

/// <summary>
/// Queries for the service's address (type A), each sent once over UDP: a resolver would ask again, and hide what was lost. Good is an
/// answer without error that has an address.
/// </summary>
internal sealed class DnsLoad(ProbePlan plan, IPEndPoint server, string name, SteadyTime time, OpenSocket open) : OpenLoop(plan, time)
{
    /// <summary>Queries without an answer yet; what would be more is not sent.</summary>
    public const int MaxOnTheirWay = 8192;

    private readonly DnsName _name = DnsName.Parse(name);
    private readonly Queue<(ushort Id, long Began)> _byAge = [];
    private readonly Dictionary<ushort, long> _waiting = [];
    private readonly byte[] _buffer = new byte[DnsLimits.Tcp];
    private Socket? _socket;

    protected override int OnTheirWay => _waiting.Count;

    protected override void Send(long number, long now)
    {
        // By number: an id is used again after 65,536 queries, and at most 8,192 wait.
        var id = (ushort)number;
        if (_waiting.Count >= MaxOnTheirWay || _waiting.ContainsKey(id))
        {
            Unsent(0, now, $"not sent: {MaxOnTheirWay} queries are not answered");
            return;
        }

        var query = new DnsMessage
        {
            Id = id,
            Flags = DnsFlags.RecursionDesired,
            Questions = [new DnsQuestion(_name, DnsType.A, DnsClass.Internet)],
        };
        try
        {
            if (_socket is null)
            {
                _socket = open(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
                _socket.Blocking = false;
                _socket.Connect(server);
            }

            _socket.Send(_buffer.AsSpan(0, query.Write(_buffer)));
        }
        catch (SocketException e)
        {
            // Also the port that an earlier query found closed.
            Say(0, now, Time.GetTimestamp(), 0, ProbeSockets.Name(e.SocketErrorCode));
            return;
        }

        _waiting[id] = now;
        _byAge.Enqueue((id, now));
    }

    protected override void Look(long now, bool ending)
    {
        while (_byAge.TryPeek(out var oldest))
        {
            var isWaiting = _waiting.TryGetValue(oldest.Id, out var began) && began == oldest.Began;
            if (isWaiting && now - began < Timeout)
            {
                return;
            }

            _byAge.Dequeue();
            if (isWaiting)
            {
                _waiting.Remove(oldest.Id);
                Say(0, began, began + Timeout, 0, ProbeSockets.Late("no answer", Plan.Timeout));
            }
        }
    }

    protected override void Wanted(List<Socket> readable, List<Socket> writable)
    {
        if (_socket is not null)
        {
            readable.Add(_socket);
        }
    }

    protected override void Writable(Socket socket)
    {
        // Never asked for.
    }

    protected override void Readable(Socket socket)
    {
        // All that is there, each with the instant that it was read at.
        while (true)
        {
            int length;
            try
            {
                length = socket.Receive(_buffer);
            }
            catch (SocketException)
            {
                // Empty; or a port that is closed, which the queries find out by themselves.
                return;
            }

            var now = Time.GetTimestamp();
            if (DnsMessage.TryRead(_buffer.AsSpan(0, length), out var answer) && (answer.Flags & DnsFlags.Response) != 0
                && answer.Questions is [var question] && question.Name.Equals(_name) && _waiting.Remove(answer.Id, out var began))
            {
                Say(0, began, now, length, Judge(answer));
            }
        }
    }

    protected override void End(long now)
    {
        foreach (var began in _waiting.Values)
        {
            Say(0, began, now, 0, ProbeSockets.Late("no answer", Plan.Timeout));
        }

        _waiting.Clear();
        _socket?.Dispose();
    }

    private static string Judge(DnsMessage answer) => answer.Rcode != DnsRcode.NoError ? $"answer {answer.Rcode}"
        : answer.Answers.Any(a => a.Type == DnsType.A) ? "" : "answer without an address";
}
