using System.Runtime.InteropServices;
using Fabric.Topology.Model;

namespace Fabric.Routing.Policies;

/// <summary>What is asked of policies about requests.</summary>
internal readonly ref struct RequestAsked
{
    private RequestAsked(bool aConnection, bool aRequest, string method, ReadOnlySpan<char> path)
    {
        (IsConnection, IsRequest, Method) = (aConnection, aRequest, method);
        Path = path;
    }

    /// <summary>The connection, before there is a request: what allows some of them allows it, and nothing that denies some denies it.</summary>
    public bool IsConnection { get; }

    /// <summary>One request. Neither: whoever speaks something else makes none.</summary>
    public bool IsRequest { get; }

    public string Method { get; }

    public ReadOnlySpan<char> Path { get; }

    public static RequestAsked Nothing => default;

    public static RequestAsked Connection => new(true, false, "", default);

    public static RequestAsked Of(string method, ReadOnlySpan<char> path) => new(false, true, method, path);
}

/// <summary>
/// Policies about requests, for one caller and port: an entry for each combination of path and method, so that a request costs a look-up for each
/// segment of the longest declared prefix, as a caller does in <see cref="PolicyIndex"/>. The exact path goes before a prefix, the longer prefix
/// before the shorter, and a named method before all of them.
/// </summary>
internal sealed class RequestIndex
{
    private readonly Dictionary<string, ByMethod> _exact = new(StringComparer.Ordinal);

    /// <summary>By what stands before <c>/*</c>; all paths under the empty one.</summary>
    private readonly Dictionary<string, ByMethod> _below = new(StringComparer.Ordinal);
    private int _longest;

    /// <summary>Kinds of policies that are here at all: what a connection may come to.</summary>
    private FoundPolicies _any;

    public void Add(Policy policy, HttpRequests requests)
    {
        _any.Add(policy);
        if (requests.Paths.IsEmpty)
        {
            Entry(_below, "").Add(policy, requests);
        }

        foreach (var path in requests.Paths)
        {
            var below = path.EndsWith("/*", StringComparison.Ordinal);
            var key = below ? path[..^2] : path;
            _longest = below ? Math.Max(_longest, key.Length) : _longest;
            Entry(below ? _below : _exact, key).Add(policy, requests);
        }
    }

    public void Find(in RequestAsked asked, ref FoundPolicies found)
    {
        if (asked.IsConnection)
        {
            found.Allow ??= _any.Allow;
            found.ShadowAllow ??= _any.ShadowAllow;
        }
        else if (asked.IsRequest)
        {
            FindRequest(asked, ref found);
        }
    }

    private void FindRequest(in RequestAsked asked, ref FoundPolicies found)
    {
        if (_exact.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(asked.Path, out var exact))
        {
            exact.Find(asked.Method, ref found);
        }

        // A prefix covers itself, so the whole path is the first that is looked up.
        var below = _below.GetAlternateLookup<ReadOnlySpan<char>>();
        var rest = asked.Path.Length <= _longest ? asked.Path : asked.Path[..Math.Max(0, asked.Path[..(_longest + 1)].LastIndexOf('/'))];
        while (true)
        {
            if (below.TryGetValue(rest, out var prefix))
            {
                prefix.Find(asked.Method, ref found);
            }

            if (rest.IsEmpty)
            {
                return;
            }

            rest = rest[..Math.Max(0, rest.LastIndexOf('/'))];
        }
    }

    private static ByMethod Entry(Dictionary<string, ByMethod> table, string path)
    {
        ref var entry = ref CollectionsMarshal.GetValueRefOrAddDefault(table, path, out _);
        return entry ??= new ByMethod();
    }

    private sealed class ByMethod
    {
        private FoundPolicies _all;
        private Dictionary<string, FoundPolicies>? _some;

        public void Add(Policy policy, HttpRequests requests)
        {
            if (requests.Methods.IsEmpty)
            {
                _all.Add(policy);
            }

            foreach (var method in requests.Methods)
            {
                CollectionsMarshal.GetValueRefOrAddDefault(_some ??= new(StringComparer.Ordinal), method, out _).Add(policy);
            }
        }

        public void Find(string method, ref FoundPolicies found)
        {
            if (_some is not null && _some.TryGetValue(method, out var some))
            {
                found.Add(some);
            }

            found.Add(_all);
        }
    }
}
