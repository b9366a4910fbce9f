using Fabric.Topology.Model;

namespace Fabric.Routing.Policies;

/// <param name="RuleName">The policy that decided; null when none did (default deny).</param>
/// <param name="Reason">One sentence without a full stop, for the audit log.</param>
public readonly record struct Verdict(bool Allowed, string? RuleName, string Reason);

/// <summary>
/// Who may call what: nothing is allowed that no policy allows, and deny wins, in whatever order they are declared.
/// Immutable; safe for concurrent use.
/// </summary>
/// <remarks>
/// Matching is by whole path segments of canonical IDs, never by string prefix: <c>site/paris/*</c> holds
/// <c>site/paris/workload/shop</c> and not <c>site/paris-2/…</c> nor <c>site/paris</c> itself.
/// </remarks>
public sealed class PolicyEvaluator
{
    /// <param name="Path">Exact path, or with <paramref name="Below"/> what must precede it, ending in a slash.</param>
    private sealed record From(string Path, bool Below)
    {
        public bool Matches(string path) => Below
            ? path.Length > Path.Length && path.StartsWith(Path, StringComparison.Ordinal)
            : path == Path;
    }

    private sealed record Rule(string Name, PolicyAction Action, From[] From, int[] Ports)
    {
        public bool Matches(string path, int port) =>
            (Ports.Length == 0 || Array.IndexOf(Ports, port) >= 0) && Array.Exists(From, f => f.Matches(path));
    }

    private readonly string _trustDomain;
    private readonly Dictionary<string, List<Rule>> _byService = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<Rule>> _byNamespace = new(StringComparer.Ordinal);

    /// <summary>Compiles the policies. Throws <see cref="ArgumentException"/> for a pattern that is not one: never guesses.</summary>
    public PolicyEvaluator(FabricTopology topology)
    {
        _trustDomain = topology.TrustDomain;
        foreach (var policy in topology.Policies)
        {
            var rule = new Rule(policy.Name, policy.Action, [.. policy.From.Select(f => Compile(policy, f))], [.. policy.Ports]);
            foreach (var to in policy.To.Distinct(StringComparer.Ordinal))
            {
                var (table, key) = to.StartsWith("*.", StringComparison.Ordinal) ? (_byNamespace, to[2..]) : (_byService, to);
                if (key.Length == 0 || key.Contains('*'))
                {
                    throw new ArgumentException($"policy {policy.Name}: to \"{to}\" must be name.namespace or *.namespace", nameof(topology));
                }

                if (!table.TryGetValue(key, out var rules))
                {
                    table[key] = rules = [];
                }

                rules.Add(rule);
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
        var dot = service.IndexOf('.');
        if (dot <= 0 || service.Length > 253 || Printable(service) != service)
        {
            return new Verdict(false, null, $"\"{Printable(service)}\" is not the name of a service (name.namespace)");
        }

        if (!SpiffePath.TryParse(caller, out var id))
        {
            return new Verdict(false, null, $"\"{Printable(caller)}\" is not a SPIFFE ID, so it may not call {service}:{port}");
        }

        if (id.TrustDomain != _trustDomain)
        {
            return new Verdict(false, null, $"{caller} is of trust domain {id.TrustDomain}, not {_trustDomain}, " +
                $"so it may not call {service}:{port}");
        }

        if (id.Site != assertedBy)
        {
            return new Verdict(false, null, $"a gateway of site {assertedBy} may not vouch for {caller}, which calls {service}:{port}");
        }

        var exact = _byService.GetValueOrDefault(service);
        var whole = _byNamespace.GetValueOrDefault(service[(dot + 1)..]);
        if (Find(PolicyAction.Deny) is { } denied)
        {
            return new Verdict(false, denied.Name, $"policy {denied.Name} denies {caller} to call {service}:{port}");
        }

        return Find(PolicyAction.Allow) is { } allowed
            ? new Verdict(true, allowed.Name, $"policy {allowed.Name} allows {caller} to call {service}:{port}")
            : new Verdict(false, null, $"no policy allows {caller} to call {service}:{port}");

        Rule? Find(PolicyAction action) =>
            exact?.Find(r => r.Action == action && r.Matches(id.Path, port))
            ?? whole?.Find(r => r.Action == action && r.Matches(id.Path, port));
    }

    private static From Compile(Policy policy, string from)
    {
        var below = from.EndsWith("/*", StringComparison.Ordinal);
        var path = below ? from[..^2] : from;
        return SpiffePath.IsCanonical(path)
            ? new From(below ? path + "/" : path, below)
            : throw new ArgumentException($"policy {policy.Name}: from \"{from}\" must be a SPIFFE path below the trust domain, " +
                "like site/paris/workload/shop, or end in /* for all below it", nameof(policy));
    }

    /// <summary>At most 80 characters, controls replaced: it goes to logs.</summary>
    private static string Printable(string? text) => text is null ? "" : string.Create(
        Math.Min(text.Length, 80), text, (span, source) =>
        {
            for (var i = 0; i < span.Length; i++)
            {
                span[i] = source[i] is > ' ' and < '\x7f' and not '"' ? source[i] : '?';
            }
        });
}
