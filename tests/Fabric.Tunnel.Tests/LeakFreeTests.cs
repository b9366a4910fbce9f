using Fabric.Testing;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// Tests after each of which nothing may be left: no descriptor, no TLS connection or buffer of libssl, no slab. They run alone, because
/// the first three are the process's.
/// </summary>
[CollectionDefinition(nameof(LeakFreeTests), DisableParallelization = true)]
[Collection(nameof(LeakFreeTests))]
public abstract class LeakFreeTests(TunnelDriver driver) : IAsyncLifetime
{
    private readonly TestAuthority _authority = new();
    private readonly List<IAsyncDisposable> _disposables = [];
    private readonly List<TestGateway> _gateways = [];
    private int _before;

    /// <summary>Sockets and what waits for them. Files are the runtime's: it opens assemblies as it needs them.</summary>
    internal static int Descriptors => OperatingSystem.IsLinux() ? Directory.GetFiles("/proc/self/fd")
        .Count(f => new FileInfo(f).LinkTarget is { } target && (target.StartsWith("socket:", StringComparison.Ordinal) || target.StartsWith("anon_inode:", StringComparison.Ordinal))) : 0;

    private protected TestAuthority Authority => _authority;

    public async Task InitializeAsync()
    {
        // Once, so that what the runtime opens with the first connection is open.
        await using (var pair = await Pair.StartAsync(_authority, driver))
        {
            await pair.ConnectAsync();
        }

        await TlsIsFreeAsync();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        _before = Descriptors;
    }

    public async Task DisposeAsync()
    {
        foreach (var one in Enumerable.Reverse(_disposables))
        {
            await one.DisposeAsync();
        }

        foreach (var gateway in _gateways)
        {
            await Wait.UntilAsync(() => gateway.Tunnel.Usage is { MemoryUsed: 0, Retained: 0, Handshakes: 0 },
                () => $"{gateway.Name} gave everything back: {gateway.Tunnel.Usage}");
        }

        await TlsIsFreeAsync();
        await Wait.UntilAsync(() => Descriptors <= _before, () => $"{Descriptors} descriptors; {_before} before");
        _authority.Dispose();
    }

    private protected async Task<Pair> PairAsync(TunnelLimits? limits = null) => Watch(await Pair.StartAsync(_authority, driver, limits));

    private protected async Task<Siege> SiegeAsync(TunnelLimits? limits = null)
    {
        var siege = await Siege.LayAsync(_authority, driver, limits);
        Watch(siege.Pair);
        _disposables.Add(siege);
        return siege;
    }

    /// <summary>libssl's connections and their buffers are gone.</summary>
    internal static Task TlsIsFreeAsync() => Wait.UntilAsync(
        () => (TlsSession.Live, TlsBuffer.AllBytes) == (0, 0L), () => $"{TlsSession.Live} TLS sessions with {TlsBuffer.AllBytes} bytes are gone");

    private Pair Watch(Pair pair)
    {
        _disposables.Add(pair);
        _gateways.AddRange([pair.Alpha, pair.Beta]);
        return pair;
    }
}
