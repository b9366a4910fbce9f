using System.Diagnostics;
using System.Diagnostics.Metrics;
using Fabric.Gateway.Probing;
using Fabric.Routing.Health;
using Fabric.Tunnel;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>
/// Counts what happens: streams and requests by service and pair of sites, verdicts, failovers. Called once for each of them and never for bytes. Names that
/// peers can make up never get here: see <see cref="Unknown"/>.
/// </summary>
internal sealed class Traffic
{
    /// <summary>Stands for services that the topology does not have, and for sites that are not known.</summary>
    public const string Unknown = "(unknown)";

    private readonly Histogram<double> _streams;
    private readonly SeriesCache<(string Service, string Source, string Destination, string Direction), StreamSeries> _between;
    private readonly Histogram<double> _requests;
    private readonly SeriesCache<(string Service, string Source), RequestSeries> _asked;
    private int _answers;
    private readonly CountTable<(string Service, string Source, string Subject, bool Allowed)> _verdicts;
    private readonly Histogram<double> _detections;
    private readonly Histogram<double> _pauses;
    private readonly Histogram<double> _forwarded;
    private readonly Histogram<double> _answered;
    private readonly Histogram<double> _probes;
    private readonly Histogram<double> _jitter;
    private readonly Histogram<double> _loss;
    private readonly Histogram<double> _capacity;
    private readonly SeriesCache<(string Link, string Peer), Tag[]> _links = new(
        Measure.MostSeries, [Measure.Rest], l => [new("link", l.Link), new("peer", l.Peer)]);

    public Traffic(GatewayMeter meter)
    {
        _streams = meter.Histogram("fabric.stream.duration", "s", "Streams and flows that ended, or were refused: how long they lived, and how they ended.",
            ["service", "source_site", "destination_site", "direction", "code"], GatewayMeter.Durations);
        var bytes = meter.Counter<(string Service, string Source, string Destination, string Direction, string Way)>(
            "fabric.stream.io", "By", "Bytes of streams, told at the end of each.", ["service", "source_site", "destination_site", "direction", "way"],
            s => [s.Service, s.Source, s.Destination, s.Direction, s.Way]);
        _between = new(
            Measure.MostSeries, new StreamSeries(_ => [Measure.Rest], _ => bytes.Rest), s => new StreamSeries(
                code => [new("service", s.Service), new("source_site", s.Source), new("destination_site", s.Destination), new("direction", s.Direction), new("code", NameOf(code))],
                way => bytes.Of((s.Service, s.Source, s.Destination, s.Direction, way))));
        _requests = meter.Histogram("http.server.request.duration", "s", "HTTP requests that were read here, from the head to the end of the answer.",
            ["service", "source_site", "http.request.method", "network.protocol.version", "http.response.status_code", "error.type"],
            GatewayMeter.Durations);
        _asked = new(Measure.MostSeries, new RequestSeries(Unknown, Unknown, static () => false), s => new RequestSeries(s.Service, s.Source,
            () => Volatile.Read(ref _answers) < Measure.MostSeries && Interlocked.Increment(ref _answers) <= Measure.MostSeries));
        _verdicts = meter.Counter<(string Service, string Source, string Subject, bool Allowed)>(
            "fabric.policy.verdicts", "{verdict}", "Decisions of policies on streams and requests.", ["service", "source_site", "subject", "verdict"],
            v => [v.Service, v.Source, v.Subject, v.Allowed ? "allow" : "deny"]);
        _detections = meter.Histogram("fabric.failover.detection", "s", "From the last good answer of a link until it was called down.", ["link", "peer"], GatewayMeter.Pauses);
        _pauses = meter.Histogram("fabric.failover.pause", "s", "From the last sign of life of the lane that carried them until streams went on on another.",
            ["peer", "from", "to"], GatewayMeter.Pauses);
        _forwarded = meter.Histogram("fabric.dns.forward.duration", "s", "DNS queries for names of others that the cache did not answer.", ["outcome"], GatewayMeter.Durations);
        _answered = meter.Histogram("fabric.dns.answer.duration", "s", "From when DNS queries over UDP were read until their answers were sent; measured for one query in 64.",
            [], GatewayMeter.Moments);
        _probes = meter.Histogram("fabric.link.probe.duration", "s", "Round trips of link probes, each alone; those that were lost, or read late, are not among them.",
            ["link", "peer"], GatewayMeter.RoundTrips);
        _jitter = meter.Histogram("fabric.link.probe.jitter", "s", "Mean deviation of the round-trip time in 10 s of probes.", ["link", "peer"], GatewayMeter.Jitters);
        _loss = meter.Histogram("fabric.link.probe.loss", "1", "Share of the probes of 10 s that was lost.", ["link", "peer"], GatewayMeter.Losses);
        _capacity = meter.Histogram("fabric.link.capacity.available", "bit/s", "Capacity that the topology declares while the link is up, else 0; each 10 s in which it was probed.",
            ["link", "peer"], GatewayMeter.BitRates);
    }

    /// <param name="direction"><c>out</c>: of a caller here; <c>in</c>: to an endpoint here.</param>
    public void StreamEnded(string service, string source, string destination, string direction, StreamSummary summary)
    {
        var streams = _between.Of((service, source, destination, direction));
        _streams.Record(summary.Duration.TotalSeconds, streams.Tags(summary.Code));
        streams.Carried(summary.BytesToEndpoint, summary.BytesToClient);
    }

    /// <summary>What <see cref="RequestEnded"/> is told of; whoever tells of more than one request keeps it.</summary>
    public RequestSeries Requests(string service, string source) => _asked.Of((service, source));

    /// <param name="status">0 when the answer's was not read.</param>
    /// <param name="version"><c>1.1</c> or <c>2</c>.</param>
    public void RequestEnded(RequestSeries series, string method, int status, string version, TimeSpan duration) =>
        _requests.Record(duration.TotalSeconds, series.Tags(method, status, version));

    /// <param name="subject"><c>stream</c> or <c>request</c>.</param>
    public void Verdict(string service, string source, string subject, bool allowed) => _verdicts.Of((service, source, subject, allowed)).Add(1);

    public void Detected(string link, string peer, TimeSpan time) =>
        _detections.Record(time.TotalSeconds, new TagList { { "link", link }, { "peer", peer } });

    public void Moved(string peer, string from, string to, TimeSpan pause) =>
        _pauses.Record(pause.TotalSeconds, new TagList { { "peer", peer }, { "from", from }, { "to", to } });

    public void Forwarded(TimeSpan time, string outcome) => _forwarded.Record(time.TotalSeconds, new TagList { { "outcome", outcome } });

    /// <summary>A link's probe was answered.</summary>
    public void Probed(string peer, string link, TimeSpan time) => _probes.Record(time.TotalSeconds, _links.Of((link, peer)));

    /// <summary>A window of a link's probes has ended.</summary>
    public void Measured(ProbeTarget link, ProbeWindow window)
    {
        var tags = _links.Of((link.Link, link.Peer));
        _loss.Record(window.Loss, tags);
        if (window.Jitter is { } jitter)
        {
            _jitter.Record(jitter.TotalSeconds, tags);
        }

        if (link.Capacity is { } capacity)
        {
            _capacity.Record(window.Passes ? capacity : 0, tags);
        }
    }

    /// <summary>DNS queries were, at once.</summary>
    public void Answered(TimeSpan time) => _answered.Record(time.TotalSeconds);

    /// <summary>One of the words in <see cref="StreamCode"/>, whatever a peer wrote.</summary>
    public static string NameOf(StreamCode code) => (int)code < _codes.Length ? _codes[(int)code] : Unknown;

    private static readonly string[] _codes = [.. Enum.GetNames<StreamCode>()];
}
