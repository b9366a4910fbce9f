using System.Security.Cryptography;
using Fabric.Identity.Authority;
using Fabric.Identity.Sources;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Fabric.Identity.Tests.Sources;

/// <summary>How an authority answers.</summary>
public enum Answer
{
    Good,
    AnotherGateway,
    AnotherKey,
    AnotherRoot,
    Expired,
    Garbage,
}

/// <summary>
/// A source of identities and the authority behind it, which a test can have change its answer, announce a new one, or go away. All
/// are a mesh's own CA behind different doors.
/// </summary>
internal abstract class Subject : IAsyncDisposable
{
    private readonly MeshCa _other;

    protected Subject()
    {
        // So that there is a time before now, when what has expired was issued, by what is there already.
        Mesh.Ca.Prepare([Id.Site]);
        Mesh.Time.Advance(TimeSpan.FromDays(3));
        _other = MeshCa.Create(Mesh.Folder["other"], Mesh.Domain, Mesh.Time);
    }

    public static GatewayId Id { get; } = new(Mesh.Domain, "paris", "paris-a");

    public Mesh Mesh { get; } = new();

    public abstract IIdentitySource Source { get; }

    public Answer Answer { get; set; }

    /// <summary>Whether the bundle has the root of another CA of the same mesh besides.</summary>
    public bool TwoRoots { get; set; }

    /// <summary>Whether something is under way for which the clock must stand still.</summary>
    public virtual bool Busy => false;

    /// <summary>A gateway whose certificate is of that other CA.</summary>
    public IdentityState OfTheOther()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var id = Id with { Site = "virginia", Gateway = "virginia-a" };
        return IdentityState.Of(_other.Issue(id, MeshCa.Request(key)), key, id, Mesh.Time.GetUtcNow());
    }

    public virtual Task StartAsync() => Task.CompletedTask;

    /// <summary>Brings the next identity about: the authority tells it, or the time comes at which it is asked.</summary>
    public virtual Task AnnounceAsync(GatewayIdentity self)
    {
        Mesh.Time.Advance(RenewalLoop.RenewAt(self.Certificate.TargetCertificate) - Mesh.Time.GetUtcNow() + TimeSpan.FromMilliseconds(1));
        return Task.CompletedTask;
    }

    public abstract Task LeaveAsync();

    public abstract Task ReturnAsync();

    public virtual ValueTask DisposeAsync()
    {
        Mesh.Dispose();
        return ValueTask.CompletedTask;
    }

    protected Grant Issue(byte[] csr)
    {
        var good = Mesh.Ca.Issue(Id, csr);
        var grant = Answer switch
        {
            Answer.AnotherGateway => Mesh.Ca.Issue(Id with { Gateway = "paris-b" }, csr),
            Answer.AnotherKey => Mesh.Ca.Issue(Id, Mesh.Csr()),
            Answer.AnotherRoot => _other.Issue(Id, csr) with { Bundle = good.Bundle },
            Answer.Expired => MeshCa.Open(Mesh.Folder["ca"], new Fabric.Testing.ManualTime()).Issue(Id, csr),
            Answer.Garbage => good with { Chain = [[1, 2, 3]] },
            _ => good,
        };
        return TwoRoots ? grant with { Bundle = [.. grant.Bundle, .. _other.Roots] } : grant;
    }

    /// <summary>For authorities that make the key as well.</summary>
    protected (Grant Grant, ECDsa Key) IssueWithKey()
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return (Issue(MeshCa.Request(key)), key);
    }
}

/// <summary>A server of one handler, on the loopback or a unix socket.</summary>
internal sealed class Host : IAsyncDisposable
{
    private readonly WebApplication _app;

    private Host(WebApplication app) => _app = app;

    public int Port { get; private set; }

    public static async Task<Host> StartAsync(RequestDelegate serve, Action<KestrelServerOptions> listen)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(listen);
        var app = builder.Build();
        app.Run(serve);
        await app.StartAsync();
        var addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!;
        return new Host(app) { Port = addresses.Addresses.Select(a => BindingAddress.Parse(a).Port).First() };
    }

    /// <summary>At once: what is under way is cut.</summary>
    public async ValueTask DisposeAsync()
    {
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }
}

/// <summary>Modes of files, where there are any.</summary>
internal static class Mode
{
    public static void Set(string path, string octal)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, (UnixFileMode)Convert.ToInt32(octal, 8));
        }
    }
}
