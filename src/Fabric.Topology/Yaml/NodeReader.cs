using System.Collections.Immutable;
using System.Text;
using Fabric.Topology.Asked;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using Mark = Fabric.Topology.Asked.Mark;

namespace Fabric.Topology.Yaml;

/// <summary>
/// Text to nodes, on the parser's events rather than on a deserializer: that is what keeps places, bounds the depth, and
/// counts aliases before they can multiply (one line of YAML can ask for a billion nodes).
/// </summary>
internal sealed class NodeReader
{
    /// <summary>UTF-8 bytes of one file.</summary>
    public const int MaxBytes = 4 * 1024 * 1024;

    /// <summary>Maps and lists inside each other.</summary>
    public const int MaxDepth = 32;

    /// <summary>Nodes of one file after alias expansion.</summary>
    public const int MaxNodes = 500_000;

    private readonly TopologyFile file;
    private readonly DiagnosticBag diagnostics;
    private readonly Scanner scanner;
    private readonly Parser parser;
    private readonly Dictionary<string, Node> anchors = new(StringComparer.Ordinal);
    private int expanded;

    private NodeReader(TopologyFile file, DiagnosticBag diagnostics)
    {
        this.file = file;
        this.diagnostics = diagnostics;
        scanner = new Scanner(new StringReader(file.Text.TrimStart('\ufeff')), skipComments: true);
        parser = new Parser(scanner);
    }

    /// <summary>The file's document, or null after an error that leaves the rest of the file unknown.</summary>
    public static Node? Read(TopologyFile file, DiagnosticBag diagnostics)
    {
        int bytes = Encoding.UTF8.GetByteCount(file.Text);
        if (bytes > MaxBytes)
        {
            diagnostics.Error(DiagnosticCodes.LimitExceeded, new Mark(file.Path, 1, 1),
                $"the file has {bytes} bytes; at most {MaxBytes} are read", "split it: all files of a folder are merged");
            return null;
        }

        var reader = new NodeReader(file, diagnostics);
        try
        {
            return reader.ReadDocument();
        }
        catch (NodeException e)
        {
            diagnostics.Error(e.Code, e.At, e.Message, e.Hint);
        }
        catch (YamlException e)
        {
            reader.ReportSyntax(e);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or FormatException
            or OverflowException or IndexOutOfRangeException or NullReferenceException)
        {
            // What the parser itself does not expect of its input (such as text in an open bracket that goes on in the next
            // line with a key) is still only bad input to us.
            diagnostics.Error(DiagnosticCodes.YamlSyntax, reader.At(reader.scanner.CurrentPosition),
                "YAML: no value can be read here", "is a bracket, a brace or a quote before it not closed?");
        }

        return null;
    }

    private Node ReadDocument()
    {
        Take<StreamStart>();
        if (parser.Current is StreamEnd)
        {
            return new MapNode(new Mark(file.Path, 1, 1), [], 1);
        }

        Take<DocumentStart>();
        Node root = ReadNode(0);
        Take<DocumentEnd>();
        if (parser.Current is not StreamEnd)
        {
            throw new NodeException(DiagnosticCodes.YamlSyntax, Here(), "a second document begins here; a file holds one",
                "put it into a file of its own: all files of a folder are merged");
        }

        return root is ScalarNode { Absent: true } ? new MapNode(root.At, [], 1) : root;
    }

    private Node ReadNode(int depth)
    {
        Mark at = Here();
        if (depth > MaxDepth)
        {
            throw new NodeException(DiagnosticCodes.LimitExceeded, at, $"maps and lists are nested more than {MaxDepth} deep");
        }

        ParsingEvent current = parser.Current
            ?? throw new NodeException(DiagnosticCodes.YamlSyntax, at, "the file ends too early");
        if (current is AnchorAlias alias)
        {
            parser.MoveNext();
            return Expand(alias.Value.Value, at);
        }

        Count(1, at);
        Node node = current switch
        {
            Scalar => ReadScalar(),
            SequenceStart => ReadList(at, depth),
            MappingStart => ReadMap(at, depth),
            _ => throw new NodeException(DiagnosticCodes.YamlSyntax, at, "a value is expected here"),
        };

        // Only now, when it is complete: so an alias inside its own anchor is unknown, and there are no cycles.
        if (current is NodeEvent { Anchor.IsEmpty: false } named)
        {
            anchors[named.Anchor.Value] = node;
        }

        return node;
    }

    private Node Expand(string anchor, Mark at)
    {
        if (!anchors.TryGetValue(anchor, out Node? node))
        {
            throw new NodeException(DiagnosticCodes.UnknownAnchor, at, $"no value above is anchored as {Words.Quote(anchor)}",
                Words.DidYouMean(anchor, anchors.Keys));
        }

        Count(node.Size, at);
        return node;
    }

    private ScalarNode ReadScalar()
    {
        Mark at = Here();
        Scalar scalar = Take<Scalar>();
        return new ScalarNode(at, scalar.Value, scalar.Style == ScalarStyle.Plain && scalar.Value.Length == 0);
    }

    private ListNode ReadList(Mark at, int depth)
    {
        Take<SequenceStart>();
        var items = ImmutableArray.CreateBuilder<Node>();
        int size = 1;
        while (parser.Current is not SequenceEnd)
        {
            Node item = ReadNode(depth + 1);
            size += item.Size;
            items.Add(item);
        }

        Take<SequenceEnd>();
        return new ListNode(at, items.ToImmutable(), size);
    }

    private MapNode ReadMap(Mark at, int depth)
    {
        Take<MappingStart>();
        var entries = ImmutableArray.CreateBuilder<(ScalarNode, Node)>();
        var first = new Dictionary<string, Mark>(StringComparer.Ordinal);
        int size = 1;
        while (parser.Current is not MappingEnd)
        {
            Node key = ReadNode(depth + 1);
            Node value = ReadNode(depth + 1);
            size += key.Size + value.Size;
            if (key is not ScalarNode name)
            {
                diagnostics.Error(DiagnosticCodes.WrongKind, key.At, $"a key is text, not {key.Kind}");
            }
            else if (first.TryGetValue(name.Text, out Mark before))
            {
                diagnostics.Error(DiagnosticCodes.DuplicateKey, name.At,
                    $"the key {Words.Quote(name.Text)} stands twice in this map; the first is at {before}",
                    "remove one, or merge their values");
            }
            else
            {
                first.Add(name.Text, name.At);
                entries.Add((name, value));
            }
        }

        Take<MappingEnd>();
        return new MapNode(at, entries.ToImmutable(), size);
    }

    private T Take<T>() where T : ParsingEvent
    {
        if (typeof(T) == typeof(StreamStart))
        {
            parser.MoveNext();
        }

        if (parser.Current is not T taken)
        {
            throw new NodeException(DiagnosticCodes.YamlSyntax, Here(), "the document does not end where it should");
        }

        // Nothing follows the end of the stream.
        parser.MoveNext();
        return taken;
    }

    private void Count(int nodes, Mark at)
    {
        // Sizes are at most MaxNodes each, so this cannot overflow.
        expanded += nodes;
        if (expanded > MaxNodes)
        {
            throw new NodeException(DiagnosticCodes.LimitExceeded, at,
                $"the file has more than {MaxNodes} values when its aliases are written out", "use fewer aliases of aliases");
        }
    }

    private Mark Here() => parser.Current is { } current ? At(current.Start) : new Mark(file.Path, 1, 1);

    private Mark At(YamlDotNet.Core.Mark mark) => new(file.Path, Math.Max(1, (int)mark.Line), Math.Max(1, (int)mark.Column));

    private void ReportSyntax(YamlException e)
    {
        Mark at = At(e.Start);
        string? hint = null;
        if (e.Message.Contains("tab as indentation", StringComparison.Ordinal))
        {
            // The parser gives the place of the map that the line belongs to.
            int before = file.Text.Split('\n').Skip(at.Line - 1).TakeWhile(l => !l.TrimStart(' ').StartsWith('\t')).Count();
            (at, hint) = (new Mark(file.Path, at.Line + before, 1), "indent with spaces");
        }
        else if (e.Message.Contains("found invalid mapping", StringComparison.Ordinal))
        {
            hint = "is the indentation right? A value with ': ' in it stands in quotes";
        }

        diagnostics.Error(DiagnosticCodes.YamlSyntax, at, "YAML: " + e.Message.TrimEnd('.'), hint);
    }

    private sealed class NodeException(string code, Mark at, string message, string? hint = null) : Exception(message)
    {
        public string Code => code;
        public Mark At => at;
        public string? Hint => hint;
    }
}
