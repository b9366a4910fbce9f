using System.Net;
using System.Text.Json;

using Fabric.Lab.Processes;

namespace Fabric.Lab.Telemetry;

/// <summary>A receiver of OTLP that is not of .NET: Python, with Google's protobuf and grpcio. What it gets it prints, and that is read here.</summary>
public sealed class OtlpReceiver : IAsyncDisposable
{
    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(20);

    private readonly Daemon _daemon;

    private OtlpReceiver(Daemon daemon) => _daemon = daemon;

    /// <summary>Where it speaks OTLP over HTTP, and where over gRPC.</summary>
    public static IPEndPoint Http { get; } = IPEndPoint.Parse("127.97.0.1:4318");

    public static IPEndPoint Grpc { get; } = IPEndPoint.Parse("127.97.0.1:4317");

    public static async Task<OtlpReceiver> Start(WorkFolder work)
    {
        var script = Path.Combine(AppContext.BaseDirectory, "Telemetry", "otlp_receiver.py");
        var receiver = new OtlpReceiver(Daemon.Start(work, "otlp", ["/usr/bin/python3", script, $"{Http.Address}", $"{Http.Port}", $"{Grpc.Port}"]));
        await receiver.Until("the receiver", all => all.Any(l => Is(l, "signal", "ready")));
        return receiver;
    }

    public static bool Is(JsonElement line, string property, string value) =>
        line.TryGetProperty(property, out var found) && found.ValueKind == JsonValueKind.String && found.GetString() == value;

    /// <summary>All that came until now.</summary>
    public IReadOnlyList<JsonElement> Received()
    {
        // Its last line may be half written.
        var text = File.Exists(_daemon.Log) ? File.ReadAllText(_daemon.Log) : "";
        return [.. text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement)];
    }

    /// <summary>Waits until what came is so, and gives it.</summary>
    public async Task<IReadOnlyList<JsonElement>> Until(string what, Func<IReadOnlyList<JsonElement>, bool> holds)
    {
        IReadOnlyList<JsonElement> last = [];
        return await Poll.For(what, _limit, async () =>
        {
            await Task.Delay(50);
            last = Received();
            return holds(last) ? last : null;
        }, () => $"{last.Count} lines came\n{string.Join('\n', last.Where(l => Is(l, "signal", "traces")).TakeLast(30))}\n{_daemon.Tail(5)}");
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();
}
