using System.Collections.Concurrent;
using System.Net;

using Fabric.Lab.Processes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Fabric.Lab.TunnelBench;

/// <summary>A receiver of OTLP over HTTP that reads what comes, answers as one does, and throws it away.</summary>
internal sealed class DiscardingReceiver : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, long> _bytes = new();
    private readonly WebApplication _app;

    private DiscardingReceiver(WebApplication app) => _app = app;

    public static IPEndPoint Address { get; } = IPEndPoint.Parse("127.98.9.1:4318");

    public static async Task<DiscardingReceiver> Start()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(Address));
        var receiver = new DiscardingReceiver(builder.Build());
        receiver._app.Run(receiver.Take);
        await receiver._app.StartAsync();
        return receiver;
    }

    /// <summary>Throws unless each signal came: telemetry that is on and sends nothing costs nothing.</summary>
    public void CheckAll()
    {
        foreach (var signal in new[] { "traces", "metrics", "logs" })
        {
            if (_bytes.GetValueOrDefault($"/v1/{signal}") == 0)
            {
                throw new LabException($"the receiver of telemetry got no {signal}");
            }
        }
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task Take(HttpContext http)
    {
        long bytes = 0;
        for (var ended = false; !ended;)
        {
            var read = await http.Request.BodyReader.ReadAsync();
            (bytes, ended) = (bytes + read.Buffer.Length, read.IsCompleted);
            http.Request.BodyReader.AdvanceTo(read.Buffer.End);
        }

        _bytes.AddOrUpdate(http.Request.Path, bytes, (_, before) => before + bytes);
        // An empty message of protobuf: all was taken.
        http.Response.ContentType = "application/x-protobuf";
        http.Response.ContentLength = 0;
    }
}
