using System.Net;
using System.Net.Sockets;

namespace Fabric.Lab.Trust;

/// <summary>An endpoint that gives every byte back, for as many connections as come.</summary>
public sealed class EchoService : IDisposable
{
    private readonly TcpListener _listener;

    public EchoService(IPEndPoint address)
    {
        _listener = new TcpListener(address);
        _listener.Start(1024);
        _ = Accept();
    }

    public void Dispose() => _listener.Dispose();

    private async Task Accept()
    {
        try
        {
            while (true)
            {
                _ = Serve(await _listener.AcceptTcpClientAsync());
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private static async Task Serve(TcpClient client)
    {
        using (client)
        {
            try
            {
                client.NoDelay = true;
                await client.GetStream().CopyToAsync(client.GetStream());
            }
            catch (IOException)
            {
                // The gateway reset it.
            }
        }
    }
}
