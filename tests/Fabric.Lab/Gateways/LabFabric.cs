using System.Collections.Concurrent;

using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Protocol.Proto;

namespace Fabric.Lab.Gateways;

/// <summary>The three sites with everything in them: network, gateways, nginx, redis. Disposal removes all of it.</summary>
public sealed class LabFabric : IAsyncDisposable
{
    /// <summary>
    /// Longer than flap damping ever holds a link: a machine that is busy with something else makes links fall by itself.
    /// </summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    private readonly WorkFolder _work;
    private readonly Programs _programs;
    private readonly Mesh _mesh;
    private readonly List<IAsyncDisposable> _parts = [];
    private Payload? _payload;

    private LabFabric(WorkFolder work, string mode)
    {
        _work = work;
        _programs = Programs.Find();
        Network = mode == "namespaces" ? new NamespaceNetwork() : new LoopbackNetwork(
            arguments => Fabric(["fault", .. arguments, "--socket", Paris!.Socket]));
        _mesh = new Mesh(work, _programs);
        Paris = Gateway(Network.Paris, _mesh.Ca);
        Virginia = Gateway(Network.Virginia);
        Factory = Gateway(Network.Factory);
    }

    public LabNetwork Network { get; }
    public GatewayProcess Paris { get; }
    public GatewayProcess Virginia { get; }
    public GatewayProcess Factory { get; }
    public IReadOnlyList<GatewayProcess> Gateways => [Paris, Virginia, Factory];
    public Nginx VirginiaWeb { get; private set; } = null!;
    public Nginx FactoryWeb { get; private set; } = null!;
    public WorkFolder Work => _work;
    public Payload Payload => _payload ?? throw new InvalidOperationException("the workloads were not started");

    /// <summary>Removes what an earlier run left, and builds the network. Mode: <c>namespaces</c> or <c>loopback</c>.</summary>
    public static async Task<LabFabric> Build(string mode)
    {
        var fabric = new LabFabric(await WorkFolder.Take(), mode);
        try
        {
            await fabric.Network.Build();
            return fabric;
        }
        catch
        {
            await fabric.DisposeAsync();
            throw;
        }
    }

    /// <summary>A whole fabric: built, joined, its workloads and gateways started, its links up.</summary>
    /// <param name="more">Another file of the topology, which every gateway gets.</param>
    public static async Task<LabFabric> Start(string mode, long payloadBytes, string? more = null)
    {
        var fabric = await Build(mode);
        try
        {
            await fabric.Init(more);
            await Task.WhenAll(fabric.StartWorkloads(payloadBytes), fabric.Join());
            await fabric.LinksUp();
            await fabric.ServicesUp();
            return fabric;
        }
        catch
        {
            await fabric.DisposeAsync();
            throw;
        }
    }

    /// <summary><c>fabric init</c>: the mesh's CA and the first topology.</summary>
    /// <param name="more">Another file of the topology, which every gateway gets.</param>
    public async Task Init(string? more = null)
    {
        await _mesh.Init("lab.example", Network.Topology);
        if (more is not null)
        {
            await File.WriteAllTextAsync(Path.Combine(Paris.TopologyFolder, "more.yaml"), more);
        }
    }

    public async Task StartWorkloads(long payloadBytes)
    {
        _payload = await Payload.Write(_work.Of("payload"), payloadBytes);
        VirginiaWeb = Part(new Nginx(_work, Network, Network.Virginia, _payload));
        FactoryWeb = Part(new Nginx(_work, Network, Network.Factory, _payload));
        var redis = Part(new RedisServer(_work, Network, Network.Virginia));
        await Task.WhenAll(VirginiaWeb.Start(), FactoryWeb.Start(), redis.Start());
    }

    /// <summary>
    /// Each gateway joins with a token of its own: paris on the authority's host, then, through the gateway of paris, the others at once.
    /// </summary>
    public async Task Join()
    {
        var paris = Join(Paris, Task.CompletedTask);
        await Task.WhenAll(paris, Join(Virginia, paris), Join(Factory, paris));
        async Task Join(GatewayProcess gateway, Task before)
        {
            await _mesh.CreateToken(gateway, Network.Authority);
            await before;
            await _mesh.Join(gateway);
            gateway.Start();
            await gateway.Ready(Limit);
        }
    }

    /// <summary>A token that was used is refused.</summary>
    public async Task ExpectTokensAreSpent()
    {
        var again = await _mesh.JoinWith(_mesh.TokenFile(Factory), Factory, _work.Of("again", "state"), _work.Of("again", "topology"));
        if (again.ExitCode == 0)
        {
            throw new LabException($"a token was accepted twice: {again}");
        }
    }

    /// <summary>Waits until every gateway sees all its links up and its peers connected.</summary>
    public async Task LinksUp()
    {
        foreach (var gateway in Gateways)
        {
            await gateway.Until("all links up", Limit, s => s.Links.Count > 0 && s.Links.All(l => l.State == "up" && l.Lane == "up")
                && s.Sites.SelectMany(x => x.Gateways).All(g => g.State is "self" or "connected"));
        }
    }

    /// <summary>Waits until paris knows web.shop healthy in both sites, and cache.shop in one.</summary>
    public Task<Status> ServicesUp() => Paris.Until("services healthy", Limit, s => s.Services.Count == 2
        && s.Services.Single(x => x.Name == "web.shop").Sites.Count(x => x.State == "healthy") == 2
        && s.Services.Single(x => x.Name == "cache.shop").Sites.Count(x => x.State == "healthy") == 1);

    /// <summary>Waits until paris reaches virginia over that link.</summary>
    public Task<Status> ActiveLink(string link) => Paris.Until($"virginia over {link}", Limit,
        s => s.Sites.Single(x => x.Name == Network.Virginia.Name).Gateways.Single().ActiveLink == link);

    /// <summary>Both gateways of dx end and start again, over their state; waits until the links between them are up, and virginia serves.</summary>
    public async Task Restart()
    {
        await Task.WhenAll(Paris.Stop(), Virginia.Stop());
        Paris.Start();
        Virginia.Start();
        foreach (var (one, other) in new[] { (Paris, Virginia), (Virginia, Paris) })
        {
            await one.Until($"all links to {other.Name} up", Limit, s => s.Links.Where(l => l.Peer == other.Name).ToArray() is { Length: 2 } links
                && links.All(l => l.State == "up" && l.Lane == "up"));
        }

        await Paris.Until("services of virginia", Limit, s => s.Services.Count == 2 && s.Services.All(x => x.ChosenSite == Network.Virginia.Name));
    }

    /// <summary>Waits until connections of paris to web.shop go to that site.</summary>
    public Task<Status> WebFrom(LabSite site) => Paris.Until($"web.shop from {site.Name}", Limit, s => s.Services.Single(x => x.Name == "web.shop").ChosenSite == site.Name);

    /// <summary>A redis-cli session from paris to cache.shop.</summary>
    public async Task<RedisSession> OpenRedis() => await RedisSession.Open(_work,
        Network.AtShop("redis-cli", "-h", await Network.HostFor(LabNetwork.Cache), "-p", $"{Network.CachePort}"));

    /// <summary>The command line, checked: its output.</summary>
    public Task<string> Fabric(params string[] arguments) => _mesh.Fabric(arguments);

    /// <summary>curl of a path of web.shop as the shop in paris, or from that source address if one is given.</summary>
    public async Task<CommandResult> Curl(string path = "/", string? from = null, int seconds = 20)
    {
        string[] options = await Network.CurlOptions(LabNetwork.Web, Network.WebPort);
        return await Command.Run(Network.AtShop(["curl", "-sS", "-f", "-m", $"{seconds}",
            .. from is null ? Array.Empty<string>() : ["--interface", from], .. options, $"http://{LabNetwork.Web}:{Network.WebPort}{path}"]));
    }

    /// <summary>What was said by every gateway of late.</summary>
    public string Tails() => string.Concat(Gateways.Select(g => g.Tail()));

    /// <summary>How a person would call the command line.</summary>
    public string[] FabricCommand(params string[] arguments) => _mesh.FabricCommand(arguments);

    public async ValueTask DisposeAsync()
    {
        // Each on its own: what fails to stop must not keep the rest. The network goes when nobody is in it any more.
        var failures = new ConcurrentQueue<Exception>();
        await Task.WhenAll([.. _parts.Select(Dispose), .. Gateways.Select(Dispose)]);
        await Dispose(Network);
        await Dispose(_work);
        async Task Dispose(IAsyncDisposable part)
        {
            try
            {
                await part.DisposeAsync();
            }
            catch (Exception e)
            {
                failures.Enqueue(e);
            }
        }

        if (!failures.IsEmpty)
        {
            throw new AggregateException("the lab could not remove all of itself", failures);
        }
    }

    private GatewayProcess Gateway(LabSite site, string? ca = null) =>
        new(_work, site.Name, _programs, argv => Network.Inside(site, argv), Network.GatewayArguments(site)) { Ca = ca };

    private T Part<T>(T part)
        where T : IAsyncDisposable
    {
        _parts.Add(part);
        return part;
    }
}
