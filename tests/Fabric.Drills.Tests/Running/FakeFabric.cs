using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Fabric.Drills.Guards;
using Fabric.Drills.Running;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Topology.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Fabric.Drills.Tests.Running;

/// <summary>
/// Three gateways behind one admin socket, as a controller sees them: they keep faults under leases, revert them when their time is up or nobody renews,
/// say what happens, and each has a clock of its own. What is asked is written down.
/// </summary>
internal sealed class FakeFabric : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-drills-").FullName;
    private readonly WebApplication _app;
    private readonly HttpMessageInvoker _invoker;
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _end = new();

    public FakeFabric(FabricTopology topology)
    {
        Topology = topology;
        Status = FabricView.Ideal(topology, default).Status;
        foreach (var service in Status.Services)
        {
            (service.ServiceAddress, service.Host) = ("127.0.0.1", $"{service.Name}.svc.clusterset.local");
        }

        foreach (var gateway in topology.Sites.SelectMany(s => s.Gateways))
        {
            Gateways[gateway.Name] = new Gateway(gateway.Name);
        }

        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.ListenUnixSocket(Socket, l => l.Protocols = HttpProtocols.Http2));
        builder.WebHost.UseShutdownTimeout(TimeSpan.FromSeconds(1));
        _app = builder.Build();
        _app.Run(Server().InvokeAsync);
        _invoker = GrpcHandler.OverStreams(async ct =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), ct);
            return new NetworkStream(socket, ownsSocket: true);
        });
        Client = new FabricClient(new GrpcClient(_invoker, GrpcHandler.StreamAuthority, TimeProvider.System));
    }

    public FabricTopology Topology { get; }
    public Status Status { get; }
    public string Socket => Path.Combine(_folder, "fabricd.sock");
    public FabricClient Client { get; }
    public Dictionary<string, Gateway> Gateways { get; } = [];

    /// <summary>"apply paris-1 link-down", "revert factory-1" ..., in order.</summary>
    public ConcurrentQueue<string> Asked { get; } = new();

    /// <summary>What a fault does beyond being in force; called when it begins and when it ends.</summary>
    public Action<Gateway, FaultSpec, bool> Effect { get; set; } = (_, _, _) => { };

    public Task StartAsync() => _app.StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await _app.StopAsync();
        await _app.DisposeAsync();
        _invoker.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Faults in force now, by gateway and kind.</summary>
    public string[] InForce()
    {
        lock (_lock)
        {
            return [.. Gateways.Values.SelectMany(g => g.Faults.Where(f => f.State == "in-force").Select(f => $"{g.Name} {f.Fault.Kind}"))];
        }
    }

    public void Change(Action<Status> change)
    {
        lock (_lock)
        {
            change(Status);
        }
    }

    private GrpcServer Server() => new GrpcServer(TimeProvider.System)
        .Unary(AdminMethods.GetStatus, (_, _) =>
        {
            lock (_lock)
            {
                return Task.FromResult(Status.Clone());
            }
        })
        .Unary(FaultsMethods.List, (request, _) => Task.FromResult(At(request.Gateway, g => { })))
        .Unary(FaultsMethods.Apply, (request, _) => Task.FromResult(At(request.Gateway, g => Apply(g, request.Fault))))
        .Unary(FaultsMethods.Renew, (request, _) => Task.FromResult(At(request.Gateway, g =>
        {
            Asked.Enqueue($"renew {g.Name}");
            g.Renewed = DateTimeOffset.UtcNow;
        })))
        .Unary(FaultsMethods.Revert, (request, _) => Task.FromResult(At(request.Gateway, g =>
        {
            Asked.Enqueue($"revert {g.Name}");
            foreach (var fault in g.Faults.Where(f => f.State == "in-force" && (request.Drill.Length == 0 || f.Fault.Drill == request.Drill)).ToArray())
            {
                End(g, fault, "asked");
            }
        })))
        .ServerStreaming(FaultsMethods.Events, (request, call) => Events(request));

    private FaultList At(string name, Action<Gateway> act)
    {
        lock (_lock)
        {
            var gateway = Gateways[name.Length == 0 ? Status.Gateway : name];
            if (gateway.Refuses is { } refusal)
            {
                throw refusal;
            }

            Expire(gateway);
            act(gateway);
            var answer = new FaultList { Gateway = gateway.Name, NowUnixUs = gateway.Now };
            answer.Faults.AddRange(gateway.Faults.Select(f => f.Clone()));
            answer.Abilities.AddRange(FabricView.Ideal(Topology, default).Answers[gateway.Name].Abilities);
            return answer;
        }
    }

    private void Apply(Gateway gateway, FaultSpec spec)
    {
        Asked.Enqueue($"apply {gateway.Name} {spec.Kind}");
        if (gateway.CannotApply is { } refusal)
        {
            throw refusal;
        }

        gateway.Renewed = DateTimeOffset.UtcNow;
        gateway.Faults.Add(new FaultState { Fault = spec, State = "in-force", Means = "seam", AppliedUnixUs = gateway.Now });
        gateway.Say(new GatewayEvent { Kind = "fault-applied", Link = spec.Link, Text = spec.Kind });
        Effect(gateway, spec, true);
        _ = Task.Run(async () =>
        {
            try
            {
                for (var goesOn = true; goesOn;)
                {
                    await Task.Delay(20, _end.Token);
                    lock (_lock)
                    {
                        Expire(gateway);
                        goesOn = gateway.Faults.Any(f => f.State == "in-force");
                    }
                }
            }
            catch (OperationCanceledException)
            {
            }
        });
    }

    private void Expire(Gateway gateway)
    {
        foreach (var fault in gateway.Faults.Where(f => f.State == "in-force").ToArray())
        {
            if (gateway.Now - fault.AppliedUnixUs >= fault.Fault.DurationMs * 1000L)
            {
                End(gateway, fault, "duration");
            }
            else if (fault.Fault.RenewWithinMs > 0 && DateTimeOffset.UtcNow - gateway.Renewed >= TimeSpan.FromMilliseconds(Math.Min(fault.Fault.RenewWithinMs, gateway.RenewAtMost)))
            {
                End(gateway, fault, "not-renewed");
            }
        }
    }

    private void End(Gateway gateway, FaultState fault, string why)
    {
        (fault.State, fault.Ended, fault.RevertedUnixUs) = (gateway.CannotRevert ? "revert-failed" : "reverted", why, gateway.Now);
        gateway.Say(new GatewayEvent { Kind = "fault-reverted", Link = fault.Fault.Link });
        Effect(gateway, fault.Fault, false);
    }

    private async IAsyncEnumerable<GatewayEvent> Events(GatewayEventsRequest request, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var gateway = Gateways[request.Gateway.Length == 0 ? Status.Gateway : request.Gateway];
        var mine = Channel.CreateUnbounded<GatewayEvent>();
        lock (_lock)
        {
            foreach (var e in gateway.Events.Where(e => e.TimeUnixUs >= request.SinceUnixUs))
            {
                mine.Writer.TryWrite(e);
            }

            gateway.Listeners.Add(mine);
        }

        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _end.Token);
        await foreach (var e in mine.Reader.ReadAllAsync(either.Token))
        {
            yield return e;
        }
    }

    internal sealed class Gateway(string name)
    {
        public string Name => name;
        public List<FaultState> Faults { get; } = [];
        public List<GatewayEvent> Events { get; } = [];
        public List<Channel<GatewayEvent>> Listeners { get; } = [];
        public DateTimeOffset Renewed { get; set; }

        /// <summary>How far its clock is ahead.</summary>
        public TimeSpan Ahead { get; set; }
        public GrpcException? Refuses { get; set; }
        public GrpcException? CannotApply { get; set; }
        public bool CannotRevert { get; set; }

        /// <summary>Milliseconds; shortens leases.</summary>
        public uint RenewAtMost { get; set; } = uint.MaxValue;

        public long Now => (DateTimeOffset.UtcNow + Ahead - DateTimeOffset.UnixEpoch).Ticks / 10;

        public void Say(GatewayEvent e)
        {
            (e.Gateway, e.TimeUnixUs) = (name, Now);
            Events.Add(e);
            foreach (var listener in Listeners)
            {
                listener.Writer.TryWrite(e);
            }
        }
    }
}
