using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Threading.Channels;

namespace Fabric.Gateway.Telemetry;

/// <summary>One decision on one connection, as it is written: one JSON object a line.</summary>
internal sealed record AuditEntry
{
    public required DateTimeOffset Time { get; init; }

    /// <summary>"allow" or "deny".</summary>
    public required string Verdict { get; init; }

    public required string Caller { get; init; }

    /// <summary>Gateway whose word it is that this is the caller; <c>self</c>: this one's.</summary>
    public required string AssertedBy { get; init; }

    /// <summary>
    /// How it is known who calls: <c>address</c>, by the workloads that the topology gives the client's address to; <c>process</c>, by the user or cgroup
    /// of a process of this machine; <c>certificate</c>, by the X.509-SVID that the client showed; <c>gateway</c>, by the word of the gateway that the client is at; <c>none</c>: it is not known, and was refused for that.
    /// </summary>
    public required string Established { get; init; }

    /// <summary><c>name.namespace:port</c></summary>
    public required string Service { get; init; }

    /// <summary>The one endpoint that was asked for, by its name in this site; null: any.</summary>
    public string? Host { get; init; }

    /// <summary>Name of the policy that decided; null when none matched.</summary>
    public string? Rule { get; init; }

    /// <summary>Name of a shadow policy with which the verdict would have been the opposite; null when there is none.</summary>
    public string? Shadow { get; init; }
    public required string Reason { get; init; }

    /// <summary>Of the HTTP request that it is about; null when it is about a connection.</summary>
    public string? Method { get; init; }

    /// <summary>Its path as policies compare it, without the query; at most 256 characters.</summary>
    public string? Path { get; init; }

    /// <summary>Requests of the connection that went through, and that did not; null where requests are not decided on.</summary>
    public long? Requests { get; init; }
    public long? RequestsDenied { get; init; }
    public string? Endpoint { get; init; }
    public long? BytesToEndpoint { get; init; }
    public long? BytesToClient { get; init; }
    public double? DurationMs { get; init; }
    public string? Trace { get; init; }

    /// <summary>What an endpoint was connected for and a policy ended, and what was refused from the start.</summary>
    [JsonIgnore]
    public bool IsDenial { get; init; }

    /// <inheritdoc cref="AuditSieve.DrawOf"/>
    [JsonIgnore]
    public double Draw { get; init; }
}

[JsonSerializable(typeof(AuditEntry))]
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
internal sealed partial class AuditJson : JsonSerializerContext;

/// <summary>
/// The audit log: a file that rotates, never in the way of the data path. At most 4,096 entries wait to be written; what
/// does not fit is counted in <see cref="Dropped"/>. The file holds 16 MiB and has three predecessors (<c>.1</c> to <c>.3</c>).
/// </summary>
internal sealed class AuditLog : IAsyncDisposable
{
    private const int Waiting = 4096;
    private const int Predecessors = 3;

    /// <summary>Lines are gathered this long and written together: a thread woken for each costs more than all the rest of it.</summary>
    private static readonly TimeSpan _gather = TimeSpan.FromMilliseconds(20);

    private readonly string _path;
    private readonly long _rotateAt;
    private readonly Channel<AuditEntry> _queue = Channel.CreateBounded<AuditEntry>(
        new BoundedChannelOptions(Waiting) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    private readonly Task _writer;
    private long _dropped;
    private long _written;

    public AuditLog(string path, long rotateAtBytes = 16 << 20)
    {
        _path = path;
        _rotateAt = rotateAtBytes;
        _writer = Task.Run(WriteAsync);
    }

    /// <summary>Entries lost, because the disk was slower than the decisions or refused a write.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    public long Written => Interlocked.Read(ref _written);

    public void Add(AuditEntry entry)
    {
        if (!_queue.Writer.TryWrite(entry))
        {
            Interlocked.Increment(ref _dropped);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _queue.Writer.TryComplete();
        await _writer;
    }

    private async Task WriteAsync()
    {
        FileStream? file = null;
        var lines = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(lines);
        while (await _queue.Reader.WaitToReadAsync())
        {
            await Task.Delay(_gather, TimeProvider.System);
            lines.ResetWrittenCount();
            var taken = 0;
            for (; taken < Waiting && _queue.Reader.TryRead(out var entry); taken++)
            {
                json.Reset(lines);
                JsonSerializer.Serialize(json, entry, AuditJson.Default.AuditEntry);
                lines.Write("\n"u8);
            }

            var lost = taken;
            try
            {
                file ??= Open();
                file.Write(lines.WrittenSpan);
                Interlocked.Add(ref _written, taken);
                lost = 0;
                if (file.Length >= _rotateAt)
                {
                    file.Dispose();
                    file = null;
                    Rotate();
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // What the disk refuses is lost; the next entries try again.
                Interlocked.Add(ref _dropped, lost);
                file?.Dispose();
                file = null;
            }
        }

        file?.Dispose();
    }

    private FileStream Open()
    {
        var options = new FileStreamOptions
        {
            Mode = FileMode.Append,
            Access = FileAccess.Write,
            Share = FileShare.ReadWrite | FileShare.Delete,
            // Lines are gathered already: what Write does not refuse is with the kernel.
            BufferSize = 0,
        };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead;
        }

        return new FileStream(_path, options);
    }

    private void Rotate()
    {
        for (var i = Predecessors; i > 0; i--)
        {
            var from = i == 1 ? _path : $"{_path}.{i - 1}";
            if (File.Exists(from))
            {
                File.Move(from, $"{_path}.{i}", overwrite: true);
            }
        }
    }
}
