using System.Security.Cryptography;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Testing;

namespace Fabric.Identity.Tests;

/// <summary>A mesh with an authority of its own in a temporary folder, on a manual clock.</summary>
internal sealed class Mesh : IDisposable
{
    public const string Domain = "acme.example";

    public Mesh(string domain = Domain) => Ca = MeshCa.Create(Folder["ca"], domain, Time);

    public TemporaryFolder Folder { get; } = new();
    public ManualTime Time { get; } = new();
    public MeshCa Ca { get; }

    /// <summary>A gateway that joined locally.</summary>
    public GatewayIdentity Join(string site, string gateway)
    {
        var store = new GatewayKeyStore(Folder[$"{site}-{gateway}"]);
        JoinClient.JoinLocally(Ca.CreateToken(site, gateway), Ca, store, Time);
        return GatewayIdentity.Load(store, Time);
    }

    public static byte[] Csr()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return MeshCa.Request(key);
    }

    public void Dispose() => Folder.Dispose();
}
