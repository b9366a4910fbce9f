using System.Diagnostics.CodeAnalysis;

namespace Fabric.Fuzzing;

/// <summary>Something that reads bytes of strangers.</summary>
internal abstract class FuzzTarget
{
    /// <summary>Of its corpus file, and for <c>--only</c>.</summary>
    public abstract string Name { get; }

    /// <summary>What mutations start from, beside the corpus.</summary>
    public abstract byte[][] Seeds { get; }

    /// <summary>
    /// Reads one input, and throws when a rule is broken: <see cref="BrokenRuleException"/>, or whatever the code under test throws and should not.
    /// </summary>
    /// <returns>What came of it, as a number: inputs with another number went another way, and one of each is worth to be kept. There are
    /// some hundreds of them, not millions.</returns>
    public abstract ulong Read(byte[] input);

    protected static void Must([DoesNotReturnIf(false)] bool holds, string rule)
    {
        if (!holds)
        {
            throw new BrokenRuleException(rule);
        }
    }

    /// <summary>A number of the parts, each of which has few values.</summary>
    protected static ulong Way(params ReadOnlySpan<int> parts)
    {
        // FNV-1a: the same in every process.
        var hash = 14695981039346656037ul;
        foreach (var part in parts)
        {
            hash = (hash ^ (uint)part) * 1099511628211ul;
        }

        return hash;
    }

    /// <summary>Sizes that differ by less than half are one.</summary>
    protected static int Size(int n) => n == 0 ? 0 : 1 + int.Log2(n);
}

internal sealed class BrokenRuleException(string rule) : Exception(rule);
