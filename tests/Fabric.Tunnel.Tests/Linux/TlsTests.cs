using Fabric.Testing;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>Tests of connections that have shaken hands: what they make is disposed after each.</summary>
public abstract class TlsTests : IDisposable
{
    private readonly TestAuthority _authority = new();
    private readonly List<IDisposable> _owned = [];

    private protected ManualTime Time { get; } = new();

    public void Dispose()
    {
        _owned.ForEach(o => o.Dispose());
        _authority.Dispose();
        GC.SuppressFinalize(this);
    }

    private protected T Own<T>(T it)
        where T : IDisposable
    {
        _owned.Add(it);
        return it;
    }

    private protected TestIdentity Gateway(string name) => Own(_authority.Gateway(name));

    private protected TlsContext Context(string name, TlsOptions? options = null) =>
        Own(new TlsContext(Gateway(name), options ?? new TlsOptions { Time = Time }));

    private protected TlsMemoryPair Pair(TlsOptions? options = null)
    {
        var pair = Own(new TlsMemoryPair(Context("alpha", options), Context("beta", options)));
        Assert.Equal((TlsStatus.Done, TlsStatus.Done), pair.Shake());
        return pair;
    }
}
