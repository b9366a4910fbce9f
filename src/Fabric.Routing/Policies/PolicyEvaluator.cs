using System.Buffers;
using Fabric.Topology.Model;

namespace Fabric.Routing.Policies;

/// <summary>
/// Who may call what: nothing is allowed that no policy allows, and deny wins, in whatever order they are declared.
/// Immutable; safe for concurrent use. A call that is allowed allocates nothing, and costs the same with 10 policies as with 10,000.
/// </summary>
/// <remarks>
/// Matching is by whole path segments of canonical IDs, never by string prefix: <c>site/paris/*</c> holds
/// <c>site/paris/workload/shop</c> and not <c>site/paris-2/…</c> nor <c>site/paris</c> itself. Of several policies that decide alike, the
/// one for the service goes before that for its namespace, the exact caller before a prefix, the longer prefix before the shorter, a named port
/// before all ports, and then the one declared first.
/// </remarks>
public sealed class PolicyEvaluator
{
    private const int LongestService = 253;

    /// <summary>What may stand in the log as it is.</summary>
    private static readonly SearchValues<char> _printable =
        SearchValues.Create([.. Enumerable.Range('!', '~' - '!' + 1).Select(c => (char)c).Where(c => c != '"')]);

    private readonly string _trustDomain;
    private readonly Dictionary<string, PolicyIndex> _services = new(StringComparer.Ordinal);
    private readonly Dictionary<string, PolicyIndex> _namespaces = new(StringComparer.Ordinal);

    /// <summary>Ports that speak HTTP; those with policies about requests.</summary>
    private readonly HashSet<(string Service, int Port)> _http = [];
    private readonly HashSet<(string Service, int Port)> _requests = [];

    /// <summary>Compiles the policies. Throws <see cref="ArgumentException"/> for a pattern that is not one: never guesses.</summary>
    public PolicyEvaluator(FabricTopology topology)
    {
        _trustDomain = topology.TrustDomain;
        foreach (var policy in topology.Policies)
        {
            foreach (var to in policy.To)
            {
                var index = Target(policy, to);
                foreach (var from in policy.From)
                {
                    var below = from.EndsWith("/*", StringComparison.Ordinal);
                    index.Add(policy, Path(policy, from, below), below);
                }
            }
        }

        var aboutRequests = topology.Policies.Where(p => p.Http is not null).SelectMany(p => p.To, (p, to) => (To: to, p.Ports))
            .ToLookup(p => p.To, p => p.Ports, StringComparer.Ordinal);
        foreach (var service in topology.Services)
        {
            foreach (var port in service.Ports.Where(p => p.Protocol == ServiceProtocol.Http).Select(p => p.Port))
            {
                _http.Add((service.FullName, port));
                if (aboutRequests[service.FullName].Concat(aboutRequests["*." + service.Namespace]).Any(p => p.IsEmpty || p.Contains(port)))
                {
                    _requests.Add((service.FullName, port));
                }
            }
        }
    }

    /// <summary>
    /// Whether there is a policy about requests to that port, so that its connections are read and each request is decided on. Whoever speaks no
    /// HTTP there is refused.
    /// </summary>
    public bool DecidesRequests(string service, int port) => _requests.Contains((service, port));

    /// <summary>
    /// May this caller call that service? <paramref name="assertedBy"/> is the site of the gateway that vouches for the caller (from its
    /// certificate; the own site for local callers): a gateway vouches for its own site only.
    /// </summary>
    /// <remarks>
    /// Of a connection, or a flow, as a whole. Where requests are decided on (<see cref="DecidesRequests"/>), a policy that allows some of them
    /// allows the connection, and one that denies some does not deny it.
    /// </remarks>
    /// <param name="caller">SPIFFE ID of the calling workload.</param>
    /// <param name="service"><c>name.namespace</c></param>
    public Verdict Evaluate(string assertedBy, string caller, string service, int port) =>
        Evaluate(assertedBy, caller, service, port, null, null);

    /// <summary>As above, of one HTTP request. Ports that do not speak HTTP have none: there it is denied what only a policy about requests allows.</summary>
    /// <param name="method">As it was sent; <c>null</c>: of the connection.</param>
    /// <param name="path">As <see cref="Topology.RequestPath"/> spells it; <c>*</c> for that of OPTIONS.</param>
    public Verdict Evaluate(string assertedBy, string caller, string service, int port, string? method, string? path)
    {
        var dot = service.IndexOf('.', StringComparison.Ordinal);
        if (dot <= 0 || service.Length > LongestService || service.AsSpan().ContainsAnyExcept(_printable))
        {
            return Verdict.Objection($"\"{Printable(service)}\" is not the name of a service (name.namespace)");
        }

        if (!SpiffePath.TrySplit(caller, out var domain, out var name))
        {
            return Verdict.Objection($"\"{Printable(caller)}\" is not a SPIFFE ID, so it may not call {service}:{port}");
        }

        if (!domain.SequenceEqual(_trustDomain))
        {
            return Verdict.Objection($"{caller} is of trust domain {domain}, not {_trustDomain}, so it may not call {service}:{port}");
        }

        var site = SpiffePath.SiteOf(name);
        if (site.IsEmpty || !site.SequenceEqual(assertedBy))
        {
            return Verdict.Objection($"a gateway of site {assertedBy} may not vouch for {caller}, which calls {service}:{port}");
        }

        var asked = !_http.Contains((service, port)) ? RequestAsked.Nothing : method is null ? RequestAsked.Connection : RequestAsked.Of(method, path);
        var found = default(FoundPolicies);
        if (_services.TryGetValue(service, out var exact))
        {
            exact.Find(name, port, asked, ref found);
        }

        if (_namespaces.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(service.AsSpan(dot + 1), out var whole))
        {
            whole.Find(name, port, asked, ref found);
        }

        return found switch
        {
            { Deny: { } deny } => new Verdict(false, deny, null, caller, service, port) { Method = method, Path = path },
            { Allow: { } allow } => new Verdict(true, allow, found.ShadowDeny, caller, service, port) { Method = method, Path = path },
            _ => new Verdict(false, null, found.ShadowDeny is null ? found.ShadowAllow : null, caller, service, port) { Method = method, Path = path },
        };
    }

    private PolicyIndex Target(Policy policy, string to)
    {
        var (table, key) = to.StartsWith("*.", StringComparison.Ordinal) ? (_namespaces, to[2..]) : (_services, to);
        if (key.Length == 0 || key.Contains('*', StringComparison.Ordinal))
        {
            throw new ArgumentException($"policy {policy.Name}: to \"{to}\" must be name.namespace or *.namespace", nameof(policy));
        }

        return table.TryGetValue(key, out var index) ? index : table[key] = new PolicyIndex();
    }

    private static string Path(Policy policy, string from, bool below)
    {
        var path = below ? from[..^2] : from;
        return SpiffePath.IsCanonical(path) ? path
            : throw new ArgumentException($"policy {policy.Name}: from \"{from}\" must be a SPIFFE path below the trust domain, " +
                "like site/paris/workload/shop, or end in /* for all below it", nameof(policy));
    }

    /// <summary>At most 80 characters, controls replaced: it goes to logs.</summary>
    private static string Printable(string? text) => text is null ? "" : string.Create(
        Math.Min(text.Length, 80), text, (span, source) =>
        {
            for (var i = 0; i < span.Length; i++)
            {
                span[i] = _printable.Contains(source[i]) ? source[i] : '?';
            }
        });
}
