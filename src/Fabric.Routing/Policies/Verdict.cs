namespace Fabric.Routing.Policies;

/// <summary>What the policies say of one call. Its words are made when they are read: a stream that is allowed allocates nothing.</summary>
public readonly record struct Verdict
{
    private readonly string? _objection;
    private readonly string _caller;
    private readonly string _service;
    private readonly int _port;

    /// <summary>By a policy, or by none (default deny).</summary>
    internal Verdict(bool allowed, string? rule, string? shadow, string caller, string service, int port)
    {
        (Allowed, RuleName, Shadow) = (allowed, rule, shadow);
        (_caller, _service, _port) = (caller, service, port);
    }

    private Verdict(string objection)
    {
        _objection = objection;
        _caller = _service = "";
    }

    public bool Allowed { get; }

    /// <summary>The policy that decided; null when none did (default deny).</summary>
    public string? RuleName { get; }

    /// <summary>What was asked is no call that a policy could allow: not well-formed, or with a caller that the gateway may not vouch for.</summary>
    public bool IsObjection => _objection is not null;

    /// <summary>
    /// The shadow policy for which the verdict would be the opposite, were all shadow policies in force; null when it would be the same.
    /// </summary>
    public string? Shadow { get; }

    /// <summary>Of the request that was asked about; null when it was a connection.</summary>
    internal string? Method { get; init; }

    internal string? Path { get; init; }

    /// <summary>One sentence without a full stop, for the audit log.</summary>
    public string Reason => _objection ?? (RuleName is null ? $"no policy allows {_caller} to {What}"
        : $"policy {RuleName} {(Allowed ? "allows" : "denies")} {_caller} to {What}");

    private string What => Method is null ? $"call {_service}:{_port}" : $"{Method} {(Path?.Length > 200 ? Path[..200] + "…" : Path)} of {_service}:{_port}";

    /// <summary>What is asked is no call that a policy could allow.</summary>
    internal static Verdict Objection(string reason) => new(reason);
}
