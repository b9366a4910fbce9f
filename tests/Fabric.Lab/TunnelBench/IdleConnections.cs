using System.Net;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>Connections that have each exchanged one request, and stay.</summary>
internal sealed class IdleConnections : IDisposable
{
    private readonly List<int> _open = [];

    public IdleConnections(IPEndPoint address, int count)
    {
        var native = Libc.Native(address);
        try
        {
            while (_open.Count < count)
            {
                Interruption.Token.ThrowIfCancellationRequested();
                _open.Add(Libc.Connect(native));
                if (!RequestLoad.Exchange(_open[^1]))
                {
                    throw new LabException($"connection {_open.Count} of {count} was not answered");
                }
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public void Dispose() => _open.ForEach(fd => Libc.close(fd));
}
