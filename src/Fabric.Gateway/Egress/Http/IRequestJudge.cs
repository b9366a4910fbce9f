using Fabric.Gateway.Telemetry.Traces;

namespace Fabric.Gateway.Egress.Http;

/// <summary>Decides on the requests of one connection. Any thread, several at once.</summary>
internal interface IRequestJudge
{
    /// <summary>
    /// Decides by the policies of this moment, all of them of one version; null when they do not allow it, which is written. A request that is allowed is
    /// under way until what is returned is disposed: when policies change and do not allow it any more, its connection is reset.
    /// </summary>
    ILiveRequest? Begin(string method, string path, in RequestTrace trace);

    /// <summary>It was no request, or none that is passed on; it is written.</summary>
    /// <param name="method">Null when it was not that far.</param>
    /// <param name="reason">Why.</param>
    void Refused(string? method, string reason);
}

/// <summary>A request under way. It is over when it is disposed, which may be done twice.</summary>
internal interface ILiveRequest : IDisposable
{
    /// <summary>The traceparent that the endpoint gets in place of the caller's; null: the caller's as it is.</summary>
    string? TraceParent { get; }

    /// <summary>The status of its answer.</summary>
    void Answered(int status);
}
