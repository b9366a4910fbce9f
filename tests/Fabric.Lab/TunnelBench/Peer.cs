using System.Net;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>Where the two ends of a peer listen, and where the server is.</summary>
public sealed record Ends(IPEndPoint A, IPEndPoint B, IPEndPoint Server);

/// <summary>
/// A proxy that people use, as a pair: A takes plain connections and opens one with TLS 1.3 to B for each; B takes them and opens a
/// plain one to the server. Both show a certificate, and verify the other's.
/// </summary>
public sealed class Peer : Contestant
{
    private readonly WorkFolder _work;
    private readonly Ends _ends;
    private readonly Func<string, string[]> _command;
    private readonly string[] _configurations;
    private readonly List<Daemon> _daemons = [];

    /// <param name="command">The command line, given the path of the configuration.</param>
    /// <param name="configurations">Of A and of B.</param>
    private Peer(WorkFolder work, string name, Ends ends, Func<string, string[]> command, params string[] configurations) =>
        (_work, Name, _ends, _command, _configurations) = (work, name, ends, command, configurations);

    public override string Name { get; }
    public override IPEndPoint Address => _ends.A;

    protected override IReadOnlyCollection<int> Leaders => [.. _daemons.Select(d => d.Pid)];

    /// <summary>64 KiB buffers instead of 16 gain a quarter. Sessions resume, as they do by default.</summary>
    public static Peer HaProxy(WorkFolder work, PeerCertificates certificates, Ends ends)
    {
        var common = """
            global
              nbthread 2
              maxconn 8192
              tune.bufsize 65536
              ssl-default-bind-options ssl-min-ver TLSv1.3
              ssl-default-server-options ssl-min-ver TLSv1.3
            defaults
              mode tcp
              timeout connect 5s
              timeout client 1h
              timeout server 1h
            listen tunnel

            """;
        return new Peer(work, "haproxy", ends, file => ["haproxy", "-db", "-f", file],
            common + $"""
              bind {ends.A}
              server b {ends.B} ssl verify required verifyhost {PeerCertificates.B} ca-file {certificates.Ca} crt {certificates.Pem(PeerCertificates.A)}

            """,
            common + $"""
              bind {ends.B} ssl verify required ca-file {certificates.Ca} crt {certificates.Pem(PeerCertificates.B)}
              server server {ends.Server}

            """);
    }

    /// <summary>64 KiB buffers, a listening socket for each worker, and sessions that resume.</summary>
    public static Peer Nginx(WorkFolder work, PeerCertificates certificates, Ends ends)
    {
        var folder = work.Folder("nginx");
        string Configuration(string end, string server) => $$"""
            load_module /usr/lib/nginx/modules/ngx_stream_module.so;
            {{(Environment.IsPrivilegedProcess ? "user root;" : "")}}
            daemon off;
            worker_processes 2;
            worker_rlimit_nofile 16384;
            pid {{folder}}/{{end}}.pid;
            error_log stderr warn;
            events { worker_connections 8192; }
            stream {
              proxy_buffer_size 64k;
              proxy_timeout 1h;
              server {
            {{server}}
              }
            }

            """;
        return new Peer(work, "nginx", ends, file => ["nginx", "-p", folder, "-c", file, "-e", "stderr"],
            Configuration("a", $"""
                listen {ends.A} reuseport backlog=4096;
                proxy_pass {ends.B};
                proxy_ssl on;
                proxy_ssl_protocols TLSv1.3;
                proxy_ssl_session_reuse on;
                proxy_ssl_verify on;
                proxy_ssl_name {PeerCertificates.B};
                proxy_ssl_trusted_certificate {certificates.Ca};
                proxy_ssl_certificate {certificates.Pem(PeerCertificates.A)};
                proxy_ssl_certificate_key {certificates.Pem(PeerCertificates.A)};
            """),
            Configuration("b", $"""
                listen {ends.B} ssl reuseport backlog=4096;
                ssl_protocols TLSv1.3;
                ssl_session_cache shared:tunnel:10m;
                ssl_verify_client on;
                ssl_client_certificate {certificates.Ca};
                ssl_certificate {certificates.Pem(PeerCertificates.B)};
                ssl_certificate_key {certificates.Pem(PeerCertificates.B)};
                proxy_pass {ends.Server};
            """));
    }

    /// <summary>It has a thread for each connection, and little that could be tuned.</summary>
    public static Peer Stunnel(WorkFolder work, PeerCertificates certificates, Ends ends)
    {
        string Configuration(string name, string service) => $"""
            foreground = quiet
            pid =
            debug = err
            socket = l:TCP_NODELAY=1
            socket = r:TCP_NODELAY=1
            [tunnel]
            sslVersionMin = TLSv1.3
            CAfile = {certificates.Ca}
            cert = {certificates.Pem(name)}
            verifyChain = yes
            TIMEOUTidle = 3600
            {service}

            """;
        return new Peer(work, "stunnel", ends, file => ["stunnel4", file],
            Configuration(PeerCertificates.A, $"client = yes\ncheckHost = {PeerCertificates.B}\naccept = {ends.A}\nconnect = {ends.B}"),
            Configuration(PeerCertificates.B, $"accept = {ends.B}\nconnect = {ends.Server}"));
    }

    public override string Tail() => string.Concat(_daemons.Select(d => d.Tail()));

    protected override async Task StartProcesses()
    {
        foreach (var (end, configuration) in new[] { "a", "b" }.Zip(_configurations))
        {
            var file = _work.Of($"{Name}-{end}.conf");
            await File.WriteAllTextAsync(file, configuration);
            _daemons.Add(Daemon.Start(_work, $"{Name}-{end}", _command(file)));
        }
    }

    protected override async Task Stop()
    {
        foreach (var daemon in _daemons)
        {
            await daemon.DisposeAsync();
        }

        _daemons.Clear();
    }
}
