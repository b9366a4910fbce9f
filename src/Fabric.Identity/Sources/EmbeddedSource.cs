using Fabric.Identity.Authority;
using Fabric.Identity.Joining;

namespace Fabric.Identity.Sources;

/// <summary>
/// The mesh's own authority: the identity is that which <c>fabric join</c> left in the store, and is renewed at half its life over a
/// new key: over the network at the gateway where this one joined, or from the CA's folder where it joined on the same host.
/// </summary>
public sealed class EmbeddedSource : IIdentitySource
{
    private readonly GatewayKeyStore _store;
    private readonly Func<GatewayIdentity, byte[], CancellationToken, Task<Grant>> _ask;
    private readonly TimeProvider _time;
    private readonly HalfLife _due;

    /// <param name="dial">Opens a plain connection to <c>host:port</c>; TLS is made here.</param>
    /// <param name="caFolder">Null where this host keeps no CA.</param>
    public EmbeddedSource(
        GatewayKeyStore store, Func<string, CancellationToken, Task<Stream>> dial, string? caFolder, TimeProvider time)
        : this(store, (self, csr, ct) => AskAsync(self, csr, dial, caFolder, time, ct), time)
    {
    }

    internal EmbeddedSource(
        GatewayKeyStore store, Func<GatewayIdentity, byte[], CancellationToken, Task<Grant>> ask, TimeProvider time) =>
        (_store, _ask, _time, _due) = (store, ask, time, new HalfLife(time));

    public string Name => "the mesh's authority";

    public async Task<IdentityState> NextAsync(GatewayIdentity? self, CancellationToken ct)
    {
        if (self is null)
        {
            return _store.Load();
        }

        await _due.WaitAsync(self, ct);
        return await _store.RenewAsync(self.Id, self.Authority, (key, c) => _ask(self, MeshCa.Request(key), c), _time, ct);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private static Task<Grant> AskAsync(GatewayIdentity self, byte[] csr, Func<string, CancellationToken, Task<Stream>> dial,
        string? caFolder, TimeProvider time, CancellationToken ct) => self.Authority is not null
        ? JoinClient.RenewAsync(self, csr, dial, time, ct)
        : caFolder is not null
            ? Task.FromResult(MeshCa.Open(caFolder, time).Issue(self.Id, csr))
            : throw new JoinException(JoinFailure.Authority, "this gateway joined on the CA's own host, and no --ca folder is set");
}
