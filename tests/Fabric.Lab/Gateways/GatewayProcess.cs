using System.Net.Sockets;

using Fabric.Lab.Processes;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Lab.Gateways;

/// <summary>
/// fabricd of a site, which may be started, stopped and killed again and again over the same state. Its status is asked over its
/// admin socket, as <c>fabric status</c> does, without the cost of starting a program for each question.
/// </summary>
public sealed class GatewayProcess : IAsyncDisposable
{
    private readonly Func<string[], string[]> _inside;
    private readonly string[] _arguments;
    private readonly WorkFolder _work;
    private readonly Programs _programs;
    private readonly HttpMessageInvoker _invoker;
    private readonly GrpcClient _admin;
    private Daemon? _daemon;

    /// <param name="site">Its site.</param>
    /// <param name="inside">The command line that runs another one where the gateway is.</param>
    /// <param name="arguments">More arguments of fabricd.</param>
    /// <param name="name">Default: the site's name and <c>-1</c>.</param>
    public GatewayProcess(WorkFolder work, string site, Programs programs, Func<string[], string[]> inside, string[] arguments, string? name = null)
    {
        (_work, Site, _programs, _inside, _arguments) = (work, site, programs, inside, arguments);
        (Name, Folder) = (name ?? $"{site}-1", name ?? site);
        work.Folder(Folder);
        _invoker = GrpcHandler.OverStreams(async cancel =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancel);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        });
        _admin = new GrpcClient(_invoker, GrpcHandler.StreamAuthority, TimeProvider.System);
    }

    public string Site { get; }

    public string Name { get; }

    /// <summary>Of the work folder, where all is that is its own.</summary>
    public string Folder { get; }

    /// <summary>The command line that runs this one where the gateway is.</summary>
    public string[] Inside(params string[] argv) => _inside(argv);

    public string State => _work.Of(Folder, "state");

    /// <summary>On the authority's host the folder that <c>fabric init</c> made; elsewhere joining fills it.</summary>
    public string TopologyFolder => Ca is null ? _work.Of(Folder, "topology") : Path.Combine(Path.GetDirectoryName(Ca)!, "topology");

    public string Socket => _work.Of(Folder, "fabricd.sock");
    /// <summary>Its log, one JSON object a line; it grows over restarts.</summary>
    public string Log => _work.Of(Folder, "fabricd.log");

    public string AuditLog => Path.Combine(State, "audit.log");

    public bool IsAlive => _daemon is { IsAlive: true };
    public int Pid => _daemon?.Pid ?? 0;

    /// <summary>The folder of the mesh's CA, when this is the gateway that holds it.</summary>
    public string? Ca { get; init; }

    public void Start() => _daemon = Daemon.Start(_work, $"{Folder}/fabricd", _inside(
        [_programs.Fabricd, "--state", State, "--topology", TopologyFolder, "--socket", Socket, "--drain-seconds", "1",
            .. Ca is null ? Array.Empty<string>() : ["--ca", Ca], .. _arguments]), Programs.Environment);

    /// <summary>Waits until it says that it serves: ready, or degraded because a link or service is down.</summary>
    public async Task<Status> Ready(TimeSpan limit)
    {
        Status? last = null;
        return await Poll.For($"{Name} to be ready", limit, async () =>
        {
            if (!IsAlive)
            {
                throw new LabException(BothEnds.Of($"fabricd of {Site} ended", Tail()));
            }

            last = await TryStatus();
            return last is { State: "ready" or "degraded" } ? last : null;
        }, () => $"last seen: {last?.State ?? "no answer"}\n{Tail()}");
    }

    /// <summary>Waits until its status is as it must be.</summary>
    public async Task<Status> Until(string what, TimeSpan limit, Func<Status, bool> holds)
    {
        Status? last = null;
        return await Poll.For($"{Name}: {what}", limit, async () =>
        {
            last = await TryStatus() ?? last;
            return last is not null && holds(last) ? last : null;
        }, () => $"last seen: {last}\n{Tail()}");
    }

    public Task<Status> Status() => _admin.UnaryAsync(AdminMethods.GetStatus, new GetStatusRequest(), new GrpcCallOptions { Timeout = TimeSpan.FromSeconds(5) });

    /// <summary>Reads its topology again; throws <see cref="GrpcException"/> with every error when it refuses it.</summary>
    public Task<ReloadReply> Reload() => _admin.UnaryAsync(AdminMethods.Reload, new ReloadRequest(), new GrpcCallOptions { Timeout = TimeSpan.FromSeconds(10) });

    /// <summary>A call of its admin socket.</summary>
    public Task<TReply> Call<TRequest, TReply>(GrpcMethod<TRequest, TReply> method, TRequest request)
        where TRequest : class, Google.Protobuf.IMessage<TRequest>, new()
        where TReply : class, Google.Protobuf.IMessage<TReply>, new() =>
        _admin.UnaryAsync(method, request, new GrpcCallOptions { Timeout = TimeSpan.FromSeconds(20) });

    /// <summary>Null while it does not answer.</summary>
    public async Task<Status?> TryStatus()
    {
        try
        {
            return File.Exists(Socket) ? await Status() : null;
        }
        catch (GrpcException e) when (e.Status is GrpcStatus.Unavailable or GrpcStatus.DeadlineExceeded)
        {
            return null;
        }
    }

    public void Signal(int signal) => _daemon?.Signal(signal);

    /// <summary>SIGTERM; gives its exit code.</summary>
    public async Task<int> Stop() => _daemon is null ? 0 : await _daemon.Stop(TimeSpan.FromSeconds(10));

    /// <summary>SIGKILL.</summary>
    public async Task Kill()
    {
        if (_daemon is not null)
        {
            await _daemon.Kill();
        }
    }

    public string Tail() => _daemon?.Tail() ?? $"fabricd of {Site} was not started\n";

    public async ValueTask DisposeAsync()
    {
        await Stop();
        _invoker.Dispose();
    }
}
