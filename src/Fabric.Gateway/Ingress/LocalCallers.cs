using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Fabric.Overlay;
using Fabric.Overlay.Netlink;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Ingress;

/// <summary>Which process of this machine calls, if any.</summary>
/// <param name="Id">SPIFFE ID of its workload; null when no workload is meant, or it is of another machine.</param>
/// <param name="Failure">Why it could not be found out; null when it could.</param>
internal readonly record struct LocalCaller(string? Id, string? Failure);

/// <summary>
/// Finds the owner of a connection that a process of this machine made to a service address, and the workload that it is. One asks the kernel at a time, on
/// the thread pool; at most 1,024 connections wait for that, 500 ms at most. Who is not found out has no identity.
/// </summary>
internal sealed class LocalCallers : IAsyncDisposable
{
    private const int MostWaiting = 1024;

    /// <summary>Cgroups below one that are looked through.</summary>
    private const int MostCgroups = 1000;

    /// <summary>Where version 2 is mounted: beside version 1 where there are both.</summary>
    private static readonly string _cgroups = Directory.Exists("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
    private static readonly TimeSpan _limit = TimeSpan.FromMilliseconds(500);

    private readonly TimeProvider _time;
    private readonly Channel<Question> _questions = Channel.CreateBounded<Question>(
        new BoundedChannelOptions(MostWaiting) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    private readonly Lazy<Task> _worker;

    public LocalCallers(TimeProvider time)
    {
        _time = time;
        _worker = new Lazy<Task>(() => Task.Run(AnswerAsync));
    }

    /// <param name="workloads">Those that are processes of this machine.</param>
    /// <param name="client">Where the connection comes from.</param>
    /// <param name="service">Where it goes to.</param>
    /// <param name="stopping">Gives up.</param>
    public async Task<LocalCaller> FindAsync(
        ImmutableArray<(Workload Workload, string Id)> workloads, IPEndPoint client, IPEndPoint service, CancellationToken stopping)
    {
        _ = _worker.Value;
        var question = new Question(workloads, Plain(client), Plain(service));
        if (!_questions.Writer.TryWrite(question))
        {
            return new LocalCaller(null, $"more than {MostWaiting} connections wait for their owners to be found");
        }

        try
        {
            return await question.Answer.Task.WaitAsync(_limit, _time, stopping);
        }
        catch (TimeoutException)
        {
            return new LocalCaller(null, $"the owner of {client} was not found within {_limit.TotalMilliseconds:0} ms");
        }
    }

    public async ValueTask DisposeAsync()
    {
        _questions.Writer.TryComplete();
        if (_worker.IsValueCreated)
        {
            await _worker.Value;
        }
    }

    /// <summary>The worker's life: a socket that failed is opened anew for the next question.</summary>
    private async Task AnswerAsync()
    {
        SocketDiag? kernel = null;
        await foreach (var question in _questions.Reader.ReadAllAsync())
        {
            try
            {
                kernel ??= SocketDiag.Open(_limit);
                question.Answer.TrySetResult(Find(kernel, question));
            }
            catch (Exception e) when (e is OverlayException or IOException or SocketException or UnauthorizedAccessException)
            {
                kernel?.Dispose();
                kernel = null;
                question.Answer.TrySetResult(new LocalCaller(null, e.Message));
            }
        }

        kernel?.Dispose();
    }

    private static LocalCaller Find(SocketDiag kernel, Question question)
    {
        if (kernel.FindTcp(question.Client, question.Service) is not { } owner)
        {
            // Of another machine, or of a process here that is gone already: that one must not pass for the other.
            return IsOfThisMachine(question.Client.Address) ? new LocalCaller(null, $"no process owns {question.Client} any more") : default;
        }

        foreach (var (workload, id) in question.Workloads)
        {
            if ((workload.UnixUser is null || UnixAccounts.FindUser(workload.UnixUser) == owner.User)
                && (workload.Cgroup is null || Holds(workload.Cgroup, owner.Cgroup)))
            {
                return new LocalCaller(id, null);
            }
        }

        return default;
    }

    /// <summary>Whether a cgroup is that one or below it. Its number is that of its folder.</summary>
    private static bool Holds(string path, ulong cgroup)
    {
        if (cgroup == 0 || UnixAccounts.Inode(_cgroups + path) is not { } inode)
        {
            return false;
        }

        try
        {
            return inode == cgroup || Directory.EnumerateDirectories(_cgroups + path, "*", SearchOption.AllDirectories)
                .Take(MostCgroups).Any(below => UnixAccounts.Inode(below) == cgroup);
        }
        catch (IOException)
        {
            // One went while it was looked at; it is not that of who is connected.
            return false;
        }
    }

    /// <summary>Only an own address can be bound.</summary>
    private static bool IsOfThisMachine(IPAddress address)
    {
        try
        {
            using var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            socket.Bind(new IPEndPoint(address, 0));
            return true;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressNotAvailable)
        {
            return false;
        }
    }

    private static IPEndPoint Plain(IPEndPoint end) => end.Address.IsIPv4MappedToIPv6 ? new IPEndPoint(end.Address.MapToIPv4(), end.Port) : end;

    private sealed record Question(ImmutableArray<(Workload Workload, string Id)> Workloads, IPEndPoint Client, IPEndPoint Service)
    {
        public TaskCompletionSource<LocalCaller> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
