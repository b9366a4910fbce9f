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
    }

    /// <summary>
    /// May this caller call that service? <paramref name="assertedBy"/> is the site of the gateway that vouches for the caller (from its
    /// certificate; the own site for local callers): a gateway vouches for its own site only.
    /// </summary>
    /// <param name="caller">SPIFFE ID of the calling workload.</param>
    /// <param name="service"><c>name.namespace</c></param>
    public Verdict Evaluate(string assertedBy, string caller, string service, int port)
    {
        var dot = service.IndexOf('.', StringComparison.Ordinal);
        if (dot <= 0 || service.Length > LongestService || service.AsSpan().ContainsAnyExcept(_printable))
        {
            return Verdict.Objection($"\"{Printable(service)}\" is not the name of a service (name.namespace)");
        }

        if (!SpiffePath.TrySplit(caller, out var domain, out var path))
        {
            return Verdict.Objection($"\"{Printable(caller)}\" is not a SPIFFE ID, so it may not call {service}:{port}");
        }

        if (!domain.SequenceEqual(_trustDomain))
        {
            return Verdict.Objection($"{caller} is of trust domain {domain}, not {_trustDomain}, so it may not call {service}:{port}");
        }

        var site = SpiffePath.SiteOf(path);
        if (site.IsEmpty || !site.SequenceEqual(assertedBy))
        {
            return Verdict.Objection($"a gateway of site {assertedBy} may not vouch for {caller}, which calls {service}:{port}");
        }

        var found = default(FoundPolicies);
        if (_services.TryGetValue(service, out var exact))
        {
            exact.Find(path, port, ref found);
        }

        if (_namespaces.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(service.AsSpan(dot + 1), out var whole))
        {
            whole.Find(path, port, ref found);
        }

        return found switch
        {
            { Deny: { } deny } => new Verdict(false, deny, null, caller, service, port),
            { Allow: { } allow } => new Verdict(true, allow, found.ShadowDeny, caller, service, port),
            _ => new Verdict(false, null, found.ShadowDeny is null ? found.ShadowAllow : null, caller, service, port),
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
