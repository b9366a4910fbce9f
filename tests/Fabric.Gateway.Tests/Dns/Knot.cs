using System.Diagnostics;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>Knot DNS, the server that ours is compared with.</summary>
internal static class Knot
{
    /// <summary>Serves zones at 127.0.0.1. It may not answer yet.</summary>
    /// <param name="folder">Holds the files of the zones; its own go there as well.</param>
    /// <param name="port">Of UDP and TCP.</param>
    /// <param name="zones">Domain and file of each.</param>
    public static Process Start(TemporaryFolder folder, int port, params (string Domain, string File)[] zones) =>
        Process.Start(new ProcessStartInfo("/usr/sbin/knotd", ["-c", folder.Write("knot.conf", $"""
            server:
                rundir: "{folder.Root}"
                listen: 127.0.0.1@{port}
                udp-workers: 1
                tcp-workers: 1
                background-workers: 1
            database:
                storage: "{folder.Root}"
            log:
              - target: stderr
                any: error
            template:
              - id: default
                storage: "{folder.Root}"
                zonefile-sync: -1
                journal-content: none
            zone:
            {string.Join('\n', zones.Select(z => $"  - domain: {z.Domain}\n    file: {z.File}"))}

            """)]))!;
}
