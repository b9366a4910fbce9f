using System.Text;
using Fabric.Identity;
using Fabric.Testing;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>Tests of connections: what they make is disposed after each.</summary>
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

    private protected TlsContext Context(string name, TlsOptions? options = null) => Context(Gateway(name), options);

    private protected TlsContext Context(IGatewayIdentity identity, TlsOptions? options = null) =>
        Own(new TlsContext(identity, options ?? new TlsOptions { Time = Time }));

    private protected TlsMemoryPair Pair(TlsOptions? options = null)
    {
        var pair = Own(new TlsMemoryPair(Context("alpha", options), Context("beta", options)));
        Assert.Equal((TlsStatus.Done, TlsStatus.Done), pair.Shake());
        return pair;
    }

    private protected async Task<(TlsEnd Client, TlsEnd Server)> SocketsAsync(TlsOptions? options = null)
    {
        var (client, server) = await TlsEnd.PairAsync(Context("alpha", options), Context("beta", options));
        return (Own(client), Own(server));
    }

    private protected static void Say(TlsSession from, string words)
    {
        Assert.Equal(words.Length, from.Write(Encoding.ASCII.GetBytes(words), out var status));
        Assert.Equal((TlsStatus.Done, TlsStatus.Done), (status, from.Flush()));
    }

    private protected static string Hear(TlsSession at, TlsStatus expected = TlsStatus.WantRead)
    {
        var buffer = new byte[100_000];
        var count = at.Read(buffer, out var status);
        Assert.True(status == expected, $"{status}: {at.Error}");
        return Encoding.ASCII.GetString(buffer, 0, count);
    }
}
