using Fabric.Fuzzing.Dns;
using Fabric.Fuzzing.Lan;

namespace Fabric.Fuzzing;

internal static class Targets
{
    public static IReadOnlyList<FuzzTarget> All { get; } = [new DnsQueryTarget(), new DnsStreamTarget(), new DnsReplyTarget(), new DnsMessageTarget(), new LanTarget()];
}
