using System.Collections.Immutable;
using Fabric.Topology.Asked;

namespace Fabric.Topology.Yaml;

/// <summary>
/// A YAML value with its place. A value reached through aliases is one shared node; <see cref="Size"/> counts the nodes of
/// the tree below it as if each alias were written out. There are no cycles.
/// </summary>
internal abstract record Node(Mark At, int Size)
{
    public abstract string Kind { get; }
}

/// <summary>Always text: <c>off</c>, <c>yes</c> and <c>~</c> mean nothing special. Absent: nothing was written.</summary>
internal sealed record ScalarNode(Mark At, string Text, bool Absent) : Node(At, 1)
{
    public override string Kind => Absent ? "nothing" : "text";
}

internal sealed record ListNode(Mark At, ImmutableArray<Node> Items, int Size) : Node(At, Size)
{
    public override string Kind => "a list";
}

internal sealed record MapNode(Mark At, ImmutableArray<(ScalarNode Key, Node Value)> Entries, int Size) : Node(At, Size)
{
    public override string Kind => "a map";
}
