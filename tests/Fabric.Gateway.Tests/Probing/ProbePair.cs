using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Probing;
using Fabric.Routing.Health;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Tests.Probing;

/// <summary>Two gateways' probing on virtual time, joined by a wire with a latency, an MTU and cuts; steps of 1 ms.</summary>
internal sealed class ProbePair
{
    private static readonly byte[] KeyForA = [.. Enumerable.Repeat((byte)0xA, 32)];
    private static readonly byte[] KeyForB = [.. Enumerable.Repeat((byte)0xB, 32)];
    private readonly List<(TimeSpan At, Node To, byte[] Packet, SocketAddress From)> _flying = [];

    public ProbePair(ProbeSettings? settings = null, bool bHasAddress = true)
    {
        A = new Node(this, "gw-a", new IPEndPoint(IPAddress.Parse("192.0.2.1"), 7443), settings ?? new ProbeSettings());
        B = new Node(this, "gw-b", new IPEndPoint(IPAddress.Parse("192.0.2.2"), 7443), settings ?? new ProbeSettings());
        A.Target = new ProbeTarget("gw-b", "dx", null, bHasAddress ? B.Address : null, 1420);
        B.Target = new ProbeTarget("gw-a", "dx", null, A.Address, 1420);
        foreach (var node in new[] { A, B })
        {
            node.Engine.Reconcile([node.Target], Now);
            node.Engine.SetActive(node.Target.Peer, "dx", true, Now);
        }

        A.Engine.SetKeys("gw-b", KeyForA, KeyForB, Now);
        B.Engine.SetKeys("gw-a", KeyForB, KeyForA, Now);
    }

    public Node A { get; }
    public Node B { get; }
    public TimeSpan Now { get; private set; }
    public TimeSpan Latency { get; set; } = TimeSpan.FromMilliseconds(5);

    /// <summary>Largest IP packet that passes on the way; larger ones vanish.</summary>
    public int Mtu { get; set; } = 1500;
    public bool CutToB { get; set; }
    public bool CutToA { get; set; }

    /// <summary>Every packet that was sent: from, bytes.</summary>
    public List<(Node From, byte[] Packet)> Sent { get; } = [];

    /// <summary>Time from now until A's state is that one, at most <paramref name="limit"/>.</summary>
    public TimeSpan Until(LinkState state, TimeSpan limit)
    {
        var start = Now;
        while (A.State != state)
        {
            Assert.True(Now - start < limit, $"A is {A.State} after {Now - start}, not {state}: {A.Report.Reason}");
            Step();
        }

        return Now - start;
    }

    public void Run(double milliseconds)
    {
        for (var end = Now + TimeSpan.FromMilliseconds(milliseconds); Now < end;)
        {
            Step();
        }
    }

    private void Step()
    {
        Now += TimeSpan.FromMilliseconds(1);
        foreach (var node in new[] { A, B }.Where(n => !n.Stalled))
        {
            foreach (var packet in _flying.Where(f => f.To == node && f.At <= Now).ToArray())
            {
                _flying.Remove(packet);
                node.Engine.Received(packet.Packet, 0, packet.From, Now);
            }

            if (node.Engine.NextDue <= Now)
            {
                node.Engine.Run(Now);
            }

            node.Changes.AddRange(node.Engine.TakeChanges(Now));
        }
    }

    internal sealed class Node : IProbeWire
    {
        private readonly ProbePair _pair;

        public Node(ProbePair pair, string name, IPEndPoint address, ProbeSettings settings)
        {
            _pair = pair;
            Address = address;
            Engine = new ProbeEngine(
                new ProberOptions
                {
                    Gateway = name,
                    Listen = [address],
                    Settings = settings,
                    Seed = 1,
                    Measured = (target, window) => Windows.Add((pair.Now, target, window)),
                },
                this,
                new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        }

        public IPEndPoint Address { get; }
        public ProbeEngine Engine { get; }
        public ProbeTarget Target { get; set; } = null!;
        public List<LinkHealthSnapshot> Changes { get; } = [];
        public List<(TimeSpan At, ProbeTarget Target, ProbeWindow Window)> Windows { get; } = [];

        /// <summary>Its thread does not run: packets wait, timers are late.</summary>
        public bool Stalled { get; set; }

        /// <summary>What its kernel refuses to send: larger than that, or everything at 0.</summary>
        public int InterfaceMtu { get; set; } = 1500;

        public LinkReport Report => Engine.Snapshot(_pair.Now).Single().Health;
        public LinkState State => Report.State;

        public int Route(IPAddress? local, IPEndPoint remote, out SocketAddress address)
        {
            address = remote.Serialize();
            return 0;
        }

        public ProbeSend Send(int socket, SocketAddress to, ReadOnlySpan<byte> packet, out string? error)
        {
            error = InterfaceMtu == 0 ? "Network is unreachable" : null;
            if (packet.Length + 28 > InterfaceMtu)
            {
                return InterfaceMtu == 0 ? ProbeSend.Refused : ProbeSend.TooBig;
            }

            _pair.Sent.Add((this, packet.ToArray()));
            var other = this == _pair.A ? _pair.B : _pair.A;
            var cut = other == _pair.A ? _pair.CutToA : _pair.CutToB;
            if (!cut && packet.Length + 28 <= _pair.Mtu && to.Equals(other.Address.Serialize()))
            {
                _pair._flying.Add((_pair.Now + _pair.Latency, other, packet.ToArray(), Address.Serialize()));
            }

            return ProbeSend.Sent;
        }
    }
}
