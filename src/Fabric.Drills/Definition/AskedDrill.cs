using System.Collections.Immutable;
using System.Net;
using Fabric.Topology.Asked;

namespace Fabric.Drills.Definition;

// What a drill's file asked for, as far as it could be read; what was accepted is DrillDefinition.

internal sealed class AskedDrill
{
    public Located<string>? Name { get; set; }
    public Located<string>? Owner { get; set; }
    public Located<string>? Reason { get; set; }
    public Located<string>? Topology { get; set; }
    public AskedSteady Steady { get; set; } = new();
    public ImmutableArray<Located<AskedAction>> Actions { get; set; } = [];
    public ImmutableArray<Located<AskedProbe>> Probes { get; set; } = [];
    public AskedGuards Guards { get; set; } = new();
    public AskedStop Stop { get; set; } = new();
    public AskedExpectations Expect { get; set; } = new();
}

internal sealed class AskedSteady
{
    public TimeSpan Before { get; set; } = TimeSpan.FromSeconds(5);
    public TimeSpan After { get; set; } = TimeSpan.FromSeconds(30);
    public ImmutableArray<Located<string>> LinksUp { get; set; } = [];
    public ImmutableArray<Located<string>> Services { get; set; } = [];
    public double SuccessPercentMin { get; set; } = 100;
}

internal sealed class AskedAction
{
    public Located<string>? Id { get; set; }
    public Located<string>? Kind { get; set; }
    public TimeSpan Start { get; set; }
    public Located<TimeSpan>? Duration { get; set; }
    public Located<TimeSpan>? Delay { get; set; }
    public Located<TimeSpan>? Jitter { get; set; }
    public Located<double>? LossPercent { get; set; }
    public Located<long>? Bandwidth { get; set; }
    public Located<TimeSpan>? Down { get; set; }
    public Located<TimeSpan>? Up { get; set; }
    public string Means { get; set; } = "auto";

    /// <summary>gateway, site, link, peer, service, direction: those that were given.</summary>
    public Dictionary<string, Located<string>> Target { get; } = new(StringComparer.Ordinal);

    public string Of(string key) => Target.TryGetValue(key, out Located<string> value) ? value.Value : "";
}

internal sealed class AskedProbe
{
    public Located<string>? Name { get; set; }
    public Located<string>? Kind { get; set; }
    public Located<string>? Service { get; set; }
    public Located<int>? Port { get; set; }
    public Located<int>? PerSecond { get; set; }
    public Located<int>? Connections { get; set; }
    public Located<long>? Bytes { get; set; }
    public IPEndPoint? Address { get; set; }
    public Located<string>? Path { get; set; }
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(5);
}

internal sealed class AskedGuards
{
    public int MaxSites { get; set; } = 1;
    public double MaxLinksPercent { get; set; } = 50;
    public int MinHealthyPaths { get; set; } = 1;
    public ImmutableArray<Located<AskedServiceGuard>> Services { get; set; } = [];
    public ImmutableArray<Located<string>> ProtectedServices { get; set; } = [];
    public ImmutableArray<Located<string>> Windows { get; set; } = [];
    public double CapacityPercentMax { get; set; } = 80;
}

internal sealed class AskedServiceGuard
{
    public Located<string>? Service { get; set; }
    public int MinHealthyPaths { get; set; } = 1;
}

internal sealed class AskedStop
{
    public double FailedPercentMax { get; set; } = 50;
    public TimeSpan PauseMax { get; set; } = TimeSpan.FromSeconds(60);
    public bool ProtectedServiceDown { get; set; } = true;
}

internal sealed class AskedExpectations
{
    public Located<int>? DetectionMsMax { get; set; }
    public Located<int>? PauseMsMax { get; set; }
    public Located<int>? RequestsFailedMax { get; set; }
    public Located<int>? ConnectionsDroppedMax { get; set; }
    public Located<int>? BytesLostMax { get; set; }
    public Located<int>? RecoveryMsMax { get; set; }
}
