using System.Net;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;

namespace Fabric.Gateway.Control.Transport;

/// <summary>Lets Kestrel listen on <see cref="StreamEndPoint"/>s; every other kind stays with the transports it has.</summary>
public sealed class StreamConnectionListenerFactory : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    public bool CanBind(EndPoint endpoint) => endpoint is StreamEndPoint;

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) =>
        endpoint is StreamEndPoint streams ? new(streams.Bind())
        : throw new NotSupportedException(
            $"{endpoint} is a {endpoint.GetType().Name}: only {nameof(StreamEndPoint)} is served here");
}

/// <summary>Hands connections to Kestrel. How many may wait is limited by the end point, which counts them.</summary>
internal sealed class StreamConnectionListener(StreamEndPoint endPoint, Action unbound) : IConnectionListener
{
    private readonly Channel<StreamConnection> _waiting = Channel.CreateUnbounded<StreamConnection>();

    public EndPoint EndPoint => endPoint;

    /// <summary>False when it no longer listens.</summary>
    public bool TryAdd(StreamConnection connection) => _waiting.Writer.TryWrite(connection);

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default) =>
        await _waiting.Reader.WaitToReadAsync(cancellationToken) && _waiting.Reader.TryRead(out var connection)
            ? connection : null;

    public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        if (_waiting.Writer.TryComplete())
        {
            unbound();
        }

        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await UnbindAsync();
        while (_waiting.Reader.TryRead(out var connection))
        {
            await connection.DisposeAsync();
        }
    }
}
