using Fabric.Tunnel;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>The streams of one service from one site to another: attributes and counts, each made when the first stream needs it.</summary>
/// <param name="tags">Attributes of the streams that ended so. Asked twice by two threads at once, it says the same twice.</param>
/// <param name="bytes">The count of what went that way, likewise.</param>
internal sealed class StreamSeries(Func<StreamCode, Tag[]> tags, Func<string, CountedSeries> bytes)
{
    /// <summary>By code; the last one is for those that have no name.</summary>
    private readonly Tag[]?[] _tags = new Tag[]?[Enum.GetValues<StreamCode>().Length + 1];
    private CountedSeries? _toEndpoint;
    private CountedSeries? _toClient;

    public Tag[] Tags(StreamCode code)
    {
        ref var known = ref _tags[Math.Min((uint)code, (uint)_tags.Length - 1)];
        return known ??= tags(code);
    }

    public void Carried(long toEndpoint, long toClient)
    {
        if (toEndpoint > 0)
        {
            (_toEndpoint ??= bytes("to-endpoint")).Add(toEndpoint);
        }

        if (toClient > 0)
        {
            (_toClient ??= bytes("to-client")).Add(toClient);
        }
    }
}
