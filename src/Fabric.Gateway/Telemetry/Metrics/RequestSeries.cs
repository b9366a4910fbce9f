using System.Globalization;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>
/// HTTP requests to one service from one site: their attributes, each set made when the first request needs it. A connection keeps it, so that no name is looked up for a request. Any
/// thread.
/// </summary>
/// <param name="room">Whether one more set may be kept; asked before each is made.</param>
internal sealed class RequestSeries(string service, string source, Func<bool> room)
{
    private const int NoStatus = 1, Statuses = 600;
    private static readonly Tag[] _rest = [Measure.Rest];
    private readonly Lock _making = new();

    /// <summary>Replaced and never changed, so that it is read without a lock.</summary>
    private volatile Dictionary<int, Tag[]> _known = [];

    public string Source => source;

    /// <param name="status">0 when the answer's was not read; one that is none is not told.</param>
    /// <param name="version"><c>1.1</c> or <c>2</c>.</param>
    public Tag[] Tags(string method, int status, string version)
    {
        status = status is 0 or (>= 100 and < Statuses) ? status : NoStatus;
        var key = (((Index(method) * 2) + (version == "2" ? 1 : 0)) * Statuses) + status;
        return _known.TryGetValue(key, out var known) ? known : Make(key, Methods[Index(method)], status, version);
    }

    private Tag[] Make(int key, string method, int status, string version)
    {
        lock (_making)
        {
            if (_known.TryGetValue(key, out var known))
            {
                return known;
            }

            if (!room())
            {
                return _rest;
            }

            var tags = new List<Tag>(6) { new("service", service), new("source_site", source), new("http.request.method", method), new("network.protocol.version", version) };
            if (status > NoStatus)
            {
                tags.Add(new("http.response.status_code", status));
            }

            if (status is 0 or >= 500)
            {
                tags.Add(new("error.type", status == 0 ? "unanswered" : status.ToString(CultureInfo.InvariantCulture)));
            }

            _known = new Dictionary<int, Tag[]>(_known) { [key] = [.. tags] };
            return _known[key];
        }
    }

    private static readonly string[] Methods = ["_OTHER", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT"];

    /// <summary>Methods that the conventions do not know are <c>_OTHER</c>.</summary>
    private static int Index(string method) => method switch
    {
        "GET" => 1,
        "POST" => 2,
        "PUT" => 3,
        "DELETE" => 4,
        "HEAD" => 5,
        "OPTIONS" => 6,
        "PATCH" => 7,
        "TRACE" => 8,
        "CONNECT" => 9,
        _ => 0,
    };
}
