using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Fabric.Gateway.Faults;

/// <summary>
/// What faults are called in the kernel. Each name holds the fault's id and a digest of the state folder: so it is found without memory, and
/// gateways that share a machine leave each other's alone.
/// </summary>
internal sealed class KernelNames(string stateFolder)
{
    public const string Prefix = "fabric-drill-";

    /// <summary>The root queue of a device that is narrowed, and the class of it.</summary>
    public const string Queue = "fab:";
    public const string Class = "fab:1";

    private readonly string _owner = Hex(Path.GetFullPath(stateFolder), 4);

    public string Table(string id) => $"{Prefix}{id}.{_owner}";

    /// <summary>Whether that is a table of ours, whatever fault it is of.</summary>
    public bool IsTable(string name) => name.StartsWith(Prefix, StringComparison.Ordinal) && name.EndsWith($".{_owner}", StringComparison.Ordinal);

    /// <summary>Of the delay stage: <paramref name="way"/> is <c>i</c> or <c>o</c>. 15 characters at most.</summary>
    public string Device(string id, char way) => $"fabd{way}-{Hex(_owner + id, 4)}";

    /// <summary>Mark, routing table and priority of the rule, all one number: <c>0x0fab….</c></summary>
    public uint Mark(string id) => 0x0FAB_0000u | (uint)(int.Parse(Hex(_owner + id, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture) & 0x7FFF);

    /// <summary>What the delay stage sends on has it, and is not caught again.</summary>
    public const uint Passed = 0x0FAB_FFFF;

    private static string Hex(string text, int bytes) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)).AsSpan(0, bytes));
}
