using Fabric.Gateway.Control;
using Fabric.Gateway.Snapshot;
using Fabric.Identity;
using Fabric.Identity.Sources;
using Fabric.Topology;

namespace Fabric.Gateway.Hosting;

/// <summary><c>fabricd --check</c>: says everything that would keep the daemon from starting. Exit code 0 or 1.</summary>
internal static class DaemonCheck
{
    public static int Run(DaemonOptions options, TimeProvider time, TextWriter output, TextWriter error)
    {
        var problems = 0;
        GatewayId? id = null;
        try
        {
            var (identity, source) = IdentityAsync(options, time).GetAwaiter().GetResult();
            id = identity.Id;
            output.WriteLine($"identity: {identity.Id}, certificate until {identity.Validity.NotAfter:u}, from {source}");
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException or JoinException)
        {
            error.WriteLine($"identity: {e.Message}{(options.Identity == IdentitySources.Embedded ? " (hint: fabric join makes it)" : "")}");
            problems++;
        }

        try
        {
            var files = new TopologySource(options.Topology, Path.Combine(options.State, Daemon.LastGoodFolder)).Read();
            if (id is { } self)
            {
                var topology = TopologyReader.Accept(files, self);
                output.WriteLine($"topology: revision {topology.Revision}, {topology.Sites.Length} sites, {topology.Links.Length} links, " +
                    $"{topology.Services.Length} services, {topology.Policies.Length} policies");
            }
            else if (TopologyLoader.Load(files) is { Topology: null } refused)
            {
                throw new TopologyRefusedException(string.Join(Environment.NewLine, refused.Diagnostics));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or TopologyRefusedException)
        {
            error.WriteLine(e.Message);
            problems++;
        }

        return problems == 0 ? 0 : 1;
    }

    /// <summary>As a start gets it, but tried once, and with nothing written.</summary>
    private static async Task<(GatewayIdentity Identity, string Source)> IdentityAsync(DaemonOptions options, TimeProvider time)
    {
        await using var source = CertificateRenewal.Open(options, keep: false, time);
        return (new GatewayIdentity(await source.NextAsync(null, CancellationToken.None), time), source.Name);
    }
}
