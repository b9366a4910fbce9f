using System.Net;

using Fabric.Lab.Networks;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Workloads;

/// <summary>nginx of a site, with a configuration of its own: a page that names the site, and the big file.</summary>
public sealed class Nginx(WorkFolder work, LabNetwork network, LabSite site, Payload? payload) : IAsyncDisposable
{
    private Daemon? _daemon;

    /// <summary>What the page of that site says.</summary>
    public static string Greeting(LabSite site) => $"web.shop, answered by nginx in {site.Name}";

    public async Task Start()
    {
        var folder = work.Folder(site.Name, "nginx");
        var pages = work.Folder(site.Name, "nginx", "pages");
        await File.WriteAllTextAsync(Path.Combine(pages, "index.html"), Greeting(site) + "\n");
        if (payload is not null && !File.Exists(Path.Combine(pages, "big")))
        {
            // One file on the disk, served by every site.
            File.CreateSymbolicLink(Path.Combine(pages, "big"), payload.Path);
        }

        var configuration = Path.Combine(folder, "nginx.conf");
        await File.WriteAllTextAsync(configuration, $$"""
            {{(Environment.IsPrivilegedProcess ? "user root;" : "")}}
            daemon off;
            worker_processes 1;
            pid {{folder}}/nginx.pid;
            error_log stderr warn;
            events { worker_connections 4096; }
            http {
              access_log off;
              sendfile on;
              default_type application/octet-stream;
              client_body_temp_path {{folder}}/body;
              proxy_temp_path {{folder}}/proxy;
              fastcgi_temp_path {{folder}}/fastcgi;
              uwsgi_temp_path {{folder}}/uwsgi;
              scgi_temp_path {{folder}}/scgi;
              keepalive_requests 1000000;
              server {
                listen {{site.Web}} backlog=4096;
                root {{pages}};
                location = /healthz { return 200 "ok\n"; }
              }
            }

            """);
        _daemon = Daemon.Start(work, $"{site.Name}/nginx", network.Inside(site, "nginx", "-p", folder, "-c", configuration, "-e", "stderr"));
        await Poll.Until($"nginx in {site.Name}", TimeSpan.FromSeconds(10), async () =>
            (await Command.Run(network.Inside(site, "curl", "-sf", "-m", "1", $"http://{site.Web}/healthz"))).ExitCode == 0, () => _daemon.Tail());
    }

    /// <summary>Stops it at once: connections that it holds are reset.</summary>
    public async Task Stop()
    {
        if (_daemon is not null)
        {
            await _daemon.DisposeAsync();
            _daemon = null;
        }
    }

    public async ValueTask DisposeAsync() => await Stop();
}
