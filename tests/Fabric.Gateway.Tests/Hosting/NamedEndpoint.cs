using System.Net;
using System.Net.Sockets;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>An endpoint behind a service: says its name on a line, then sends back what comes.</summary>
internal sealed class NamedEndpoint : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly string _name;

    public NamedEndpoint(string name)
    {
        _name = name;
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _ = AcceptAsync();
    }

    public int Port { get; }

    /// <summary>Accepts no more; connections that live go on.</summary>
    public void Dispose() => _listener.Dispose();

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await _listener.AcceptTcpClientAsync());
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using (client)
        {
            try
            {
                var stream = client.GetStream();
                await stream.WriteAsync(System.Text.Encoding.ASCII.GetBytes(_name + "\n"));
                await stream.CopyToAsync(stream);
            }
            catch (IOException)
            {
                // A health check, or a test that is done.
            }
        }
    }
}
