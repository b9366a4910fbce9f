using System.Runtime.InteropServices;
using Fabric.Topology.Model;

namespace Fabric.Routing.Policies;

/// <summary>The first declared policy of each kind that holds a call.</summary>
internal struct FoundPolicies
{
    public string? Deny;
    public string? Allow;
    public string? ShadowDeny;
    public string? ShadowAllow;

    public void Add(Policy policy)
    {
        switch (policy.Action, policy.Mode)
        {
            case (PolicyAction.Deny, PolicyMode.Enforce): Deny ??= policy.Name; break;
            case (PolicyAction.Allow, PolicyMode.Enforce): Allow ??= policy.Name; break;
            case (PolicyAction.Deny, PolicyMode.Shadow): ShadowDeny ??= policy.Name; break;
            case (PolicyAction.Allow, PolicyMode.Shadow): ShadowAllow ??= policy.Name; break;
            default: throw new ArgumentException($"policy {policy.Name}: {policy.Action} in mode {policy.Mode} is not known", nameof(policy));
        }
    }

    /// <summary>What was found before goes first.</summary>
    public void Add(in FoundPolicies other)
    {
        Deny ??= other.Deny;
        Allow ??= other.Allow;
        ShadowDeny ??= other.ShadowDeny;
        ShadowAllow ??= other.ShadowAllow;
    }
}

/// <summary>
/// The policies for one service, or for one namespace: an entry for each combination of caller and port, so that a call costs a look-up for
/// each segment of the longest declared prefix, however many policies there are.
/// </summary>
internal sealed class PolicyIndex
{
    private readonly Dictionary<string, ByPort> _exact = new(StringComparer.Ordinal);

    /// <summary>By what stands before <c>/*</c>.</summary>
    private readonly Dictionary<string, ByPort> _below = new(StringComparer.Ordinal);

    /// <summary>Characters of the longest prefix: a caller with a longer path costs no more.</summary>
    private int _longest;

    /// <param name="policy">The policy.</param>
    /// <param name="path">One of its callers, without <c>/*</c>.</param>
    /// <param name="below">Whether it is all below that path, and not the path itself.</param>
    public void Add(Policy policy, string path, bool below)
    {
        _longest = below ? Math.Max(_longest, path.Length) : _longest;
        ref var entry = ref CollectionsMarshal.GetValueRefOrAddDefault(below ? _below : _exact, path, out _);
        (entry ??= new ByPort()).Add(policy);
    }

    /// <summary>Adds what holds the call: the exact caller first, then prefixes, the longest first.</summary>
    public void Find(ReadOnlySpan<char> path, int port, in RequestAsked asked, ref FoundPolicies found)
    {
        if (_exact.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(path, out var exact))
        {
            exact.Find(port, asked, ref found);
        }

        var below = _below.GetAlternateLookup<ReadOnlySpan<char>>();
        var rest = path[..Math.Min(path.Length, _longest + 1)];
        while (rest.LastIndexOf('/') is var slash and > 0)
        {
            rest = rest[..slash];
            if (below.TryGetValue(rest, out var prefix))
            {
                prefix.Find(port, asked, ref found);
            }
        }
    }

    private sealed class ByPort
    {
        private FoundPolicies _all;
        private Dictionary<int, FoundPolicies>? _some;

        private RequestIndex? _requestsOfAll;
        private Dictionary<int, RequestIndex>? _requestsOfSome;

        public void Add(Policy policy)
        {
            if (policy.Ports.IsEmpty && policy.Http is not null)
            {
                (_requestsOfAll ??= new RequestIndex()).Add(policy, policy.Http);
            }
            else if (policy.Ports.IsEmpty)
            {
                _all.Add(policy);
            }

            foreach (var port in policy.Ports)
            {
                if (policy.Http is not null)
                {
                    ref var requests = ref CollectionsMarshal.GetValueRefOrAddDefault(_requestsOfSome ??= [], port, out _);
                    (requests ??= new RequestIndex()).Add(policy, policy.Http);
                }
                else
                {
                    CollectionsMarshal.GetValueRefOrAddDefault(_some ??= [], port, out _).Add(policy);
                }
            }
        }

        public void Find(int port, in RequestAsked asked, ref FoundPolicies found)
        {
            if (_requestsOfSome is not null && _requestsOfSome.TryGetValue(port, out var requests))
            {
                requests.Find(asked, ref found);
            }

            if (_some is not null && _some.TryGetValue(port, out var some))
            {
                found.Add(some);
            }

            _requestsOfAll?.Find(asked, ref found);
            found.Add(_all);
        }
    }
}
