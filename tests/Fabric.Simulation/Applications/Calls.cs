using System.Globalization;
using System.Net;
using Fabric.Simulation.Gateways;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Drivers;

namespace Fabric.Simulation.Applications;

/// <summary>Callers in every site, and what their gateways do for them: the importing side tries routes, the exporting side decides.</summary>
internal sealed class Calls(World world)
{
    private readonly List<Call> _calls = [];
    private readonly List<SimApp> _apps = [];

    public IEnumerable<Call> All => _calls;

    public void Begin() => world.After(world.Ms(300, 800), Some);

    private void Some()
    {
        if (world.IsHealed)
        {
            return;
        }

        for (var i = world.Random.Next(3); i >= 0; i--)
        {
            Make(mustWork: false, world.Gateways[world.Random.Next(world.Gateways.Length)], null);
        }

        world.After(world.Ms(20, 500), Some);
    }

    /// <summary>A caller of that gateway's site connects to a service through it.</summary>
    public void Make(bool mustWork, SimGateway gateway, string? service)
    {
        var random = world.Random;
        service ??= Remote(gateway, random);
        var call = new Call(_calls.Count, gateway.Site, service, SidePlan.Draw(random, mustWork), SidePlan.Draw(random, mustWork))
        {
            GivesUp = !mustWork && random.Next(25) == 0,
            Mirrored = random.Next(5) == 0,
            MustWork = mustWork,
            MustBeDenied = world.Topology.Policies.Length > 1 && gateway.Site == world.Topology.Sites.Length - 1 && service == "s0.shop",
        };
        if (!gateway.IsRunning || gateway.IsDraining)
        {
            return;
        }

        _calls.Add(call);
        world.Counters.Calls++;
        gateway.Do(() => new Import(world, gateway, call, _apps.Add).Try());
    }

    /// <summary>A service, mostly one that another site has to serve: what stays in a site shows little.</summary>
    private string Remote(SimGateway gateway, Random random)
    {
        var services = world.Topology.Services;
        var remote = services.Where(s => world.Endpoints.Count(s, gateway.Plan.Site).Alive == 0 && s.Exports.Any(
            e => world.Gateways.Any(g => g.Plan.Site == e.Site && world.AreLinked(gateway, g)))).ToArray();
        return remote.Length == 0 || random.Next(10) == 0 ? services[random.Next(services.Length)].FullName : remote[random.Next(remote.Length)].FullName;
    }

    /// <summary>The process and everybody who is connected through it are gone.</summary>
    public void ProcessDied(SimGateway gateway)
    {
        foreach (var app in _apps.Where(a => a.Gateway == gateway && a.Outcome == Outcome.Open).ToArray())
        {
            app.Died();
        }

        foreach (var call in _calls.Where(c => c.ClientOutcome == Outcome.Open && c.Import?.Gateway == gateway))
        {
            call.ClientOutcome = Outcome.Died;
        }
    }

    /// <summary>A peer opened a stream.</summary>
    public void Serve(SimGateway gateway, SimSession session, StreamCore stream)
    {
        if (stream.IsReset || stream.IsGone)
        {
            return;
        }

        if (stream.Request.IsRelay)
        {
            Relay(gateway, session, stream);
            return;
        }

        if (stream.Request.IsReserved)
        {
            gateway.Catalogs.Serve(session, stream);
            session.Rearm();
            return;
        }

        var open = stream.Request;
        var verdict = gateway.Egress.DecideAsync(session.Peer, open, CancellationToken.None).Result;
        if (verdict is EgressVerdict.Refuse refuse)
        {
            stream.Reset(refuse.Code, refuse.Reason, world.Now);
            session.Rearm();
            return;
        }

        gateway.AfterMs(0, 20, () => Dial(gateway, session, stream, (EgressVerdict.Dial)verdict));
    }

    private void Relay(SimGateway gateway, SimSession session, StreamCore stream)
    {
        if (RelayNames.OriginOf(stream.Request) is { } origin)
        {
            gateway.Tunnel.TakeOver(session, stream, origin);
            return;
        }

        switch (gateway.Egress.DecideAsync(session.Peer, stream.Request, CancellationToken.None).Result)
        {
            case EgressVerdict.Relay relay:
                world.Counters.Relayed++;
                RelayJoin.Carry(world, gateway, session, stream, relay.Target);
                break;
            case EgressVerdict.Refuse refuse:
                stream.Reset(refuse.Code, refuse.Reason, world.Now);
                session.Rearm();
                break;
        }
    }

    private void Dial(SimGateway gateway, SimSession session, StreamCore stream, EgressVerdict.Dial dial)
    {
        if (stream.IsReset || stream.IsGone)
        {
            return;
        }

        var call = _calls[int.Parse(stream.Request.TraceParent, CultureInfo.InvariantCulture)];
        if (!Reach(world, gateway, stream.Request, dial))
        {
            stream.Reset(StreamCode.NoEndpoint, "no endpoint answered", world.Now);
        }
        else
        {
            world.Check(!call.MustBeDenied, $"denied and yet served: {call}");
            world.Check(call.Service == stream.Request.Service, $"{call} arrived as one to {stream.Request.Service}");
            var app = new SimApp(world, gateway, session, call, isClient: false) { Stream = stream };
            stream.Owner = app;
            call.Servers.Add(app);
            _apps.Add(app);
            stream.Accept(world.Now);
            app.Start();
        }

        session.Rearm();
    }

    /// <summary>Tries endpoints in order; they are those of the gateway's own site, or the stream went astray.</summary>
    public static bool Reach(World world, SimGateway gateway, StreamOpen open, EgressVerdict.Dial dial)
    {
        foreach (var endpoint in dial.Endpoints)
        {
            var exported = world.Topology.Services.Any(s => s.FullName == open.Service
                && s.Exports.Any(e => e.Site == gateway.Plan.Site && e.Endpoints.Any(p => p.Address.Equals(endpoint.Address))));
            world.Check(exported, $"{gateway.Name} dials {endpoint} for {open.Service}, which is not of its site");
            if (world.Endpoints.IsAlive(endpoint.Address))
            {
                return true;
            }

            gateway.Egress.DialFailed(open, endpoint, "connection refused");
        }

        return false;
    }
}

/// <summary>The importing side of one call: the ingress decision, then its routes in order until one takes it.</summary>
internal sealed class Import
{
    private readonly World _world;
    private readonly Call _call;
    private readonly Action<SimApp> _began;
    private readonly Queue<IngressRoute> _routes;

    public Import(World world, SimGateway gateway, Call call, Action<SimApp> began)
    {
        (_world, Gateway, _call, _began) = (world, gateway, call, began);
        call.Import = this;
        var listener = new ServiceListener(call.Service, DrawnTopology.Port, new IPEndPoint(IPAddress.Loopback, DrawnTopology.Port));
        var plan = gateway.Ingress.PlanAsync(listener, DrawnTopology.Client(gateway.Site), CancellationToken.None).Result;
        _routes = new Queue<IngressRoute>(plan.Routes);
        call.Code = StreamCode.NoEndpoint;
        world.Check(plan.Routes.Select(r => r.Peer).Distinct().Count() == plan.Routes.Length, $"a gateway is tried twice by {call}");
    }

    public SimGateway Gateway { get; }

    public void Try()
    {
        while (_routes.TryDequeue(out var route))
        {
            try
            {
                if (route.Peer is null)
                {
                    ServeLocally(route.Open);
                    return;
                }

                Open(route.Peer, route.Open);
                return;
            }
            catch (StreamRefusedException refused)
            {
                _call.Code = refused.Code;
                if (!ServiceServer.MayTryNext(refused.Code))
                {
                    break;
                }

                _world.Counters.Retried++;
            }
        }

        Over(Outcome.Refused);
    }

    private void Over(Outcome outcome)
    {
        _call.ClientOutcome = outcome;
        _world.Note(outcome.ToString(), Gateway.Name, _call.Id, (int)_call.Code);
        switch (outcome)
        {
            case Outcome.Refused:
                _world.Counters.Refused++;
                break;
            case Outcome.Orderly:
                _world.Counters.Completed++;
                break;
            case Outcome.Reset:
                _world.Counters.Reset++;
                break;
        }

        _world.Check(!_call.MustWork || outcome == (_call.MustBeDenied ? Outcome.Refused : Outcome.Orderly), $"nothing is broken, and yet: {_call}");
    }

    private void ServeLocally(StreamOpen open)
    {
        var verdict = Gateway.Egress.DecideAsync(null, open, CancellationToken.None).Result;
        if (verdict is EgressVerdict.Refuse refuse)
        {
            throw new StreamRefusedException(refuse.Code, refuse.Reason);
        }

        if (!Calls.Reach(_world, Gateway, open, (EgressVerdict.Dial)verdict))
        {
            throw new StreamRefusedException(StreamCode.NoEndpoint, "no endpoint answered");
        }

        _world.Check(!_call.MustBeDenied, $"denied and yet served: {_call}");
        _world.Counters.Local++;
        Over(Outcome.Orderly);
    }

    private void Open(string peer, StreamOpen open)
    {
        var session = Gateway.Tunnel.Session(peer) ?? throw new StreamRefusedException(StreamCode.NoLane, "no session");
        var app = new SimApp(_world, Gateway, session, _call, isClient: true) { Over = Ended };
        app.Stream = session.Open(
            open with { TraceParent = _call.Id.ToString(CultureInfo.InvariantCulture), Mirrored = open.Mirrored || _call.Mirrored }, app);
        _began(app);
        Gateway.After(_world.Figures.Limits.OpenTimeout, () =>
        {
            if (!app.WasOpened && !app.Stream.IsReset)
            {
                app.Reset(StreamCode.TimedOut, "no answer to OPEN");
            }
        });
        if (_call.GivesUp)
        {
            Gateway.AfterMs(0, 200, () =>
            {
                _routes.Clear();
                if (!app.Stream.IsReset)
                {
                    app.Reset(StreamCode.ApplicationReset, "given up");
                }
            });
        }
    }

    private void Ended(SimApp app)
    {
        _call.Code = app.Stream!.Code;
        if (app.Outcome == Outcome.Reset && !app.WasOpened && ServiceServer.MayTryNext(_call.Code))
        {
            _world.Counters.Retried++;
            Try();
        }
        else
        {
            Over(app.Outcome == Outcome.Reset && !app.WasOpened ? Outcome.Refused : app.Outcome);
        }
    }
}
