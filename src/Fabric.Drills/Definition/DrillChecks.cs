using Fabric.Topology;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Drills.Definition;

/// <summary>What spans several values of a drill's file.</summary>
internal static class DrillChecks
{
    public static void Check(AskedDrill drill, DiagnosticBag diagnostics)
    {
        var names = new Dictionary<string, Mark>(StringComparer.Ordinal);
        foreach (var action in drill.Actions)
        {
            Unique(names, "action", action.Value.Id, diagnostics);
            KeysOf(action, diagnostics);
        }

        names.Clear();
        foreach (var probe in drill.Probes)
        {
            Unique(names, "probe", probe.Value.Name, diagnostics);
            KeysOf(probe, diagnostics);
        }

        names.Clear();
        foreach (var guard in drill.Guards.Services)
        {
            Unique(names, "guard of service", guard.Value.Service, diagnostics);
        }

        var expect = drill.Expect;
        Measured(drill, expect.PauseMsMax, "pauseMsMax", ["live", "bulk"], diagnostics);
        Measured(drill, expect.RequestsFailedMax, "requestsFailedMax", ["connect", "http", "dns"], diagnostics);
        Measured(drill, expect.ConnectionsDroppedMax, "connectionsDroppedMax", ["live", "bulk", "http"], diagnostics);
        Measured(drill, expect.BytesLostMax, "bytesLostMax", ["live", "bulk"], diagnostics);
    }

    private static void KeysOf(Located<AskedAction> located, DiagnosticBag diagnostics)
    {
        var action = located.Value;
        if (action.Kind is not { } kind)
        {
            return;
        }

        var (needs, may) = DrillShapes.Kinds[kind.Value];
        var given = Given(action);
        foreach (var missing in needs.Where(k => !given.ContainsKey(k)))
        {
            diagnostics.Error(DiagnosticCodes.MissingKey, located.At, $"an action of kind {kind.Value} needs the key {Words.Quote(missing)}");
        }

        foreach (var (key, at) in given.Where(g => !needs.Contains(g.Key) && !may.Contains(g.Key)))
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, at, $"{key} does not apply to an action of kind {kind.Value}",
                $"it takes {string.Join(", ", needs.Concat(may))}");
        }

        if (kind.Value == "source-gone" && given.ContainsKey("gateway") == given.ContainsKey("site"))
        {
            diagnostics.Error(DiagnosticCodes.MissingKey, located.At, "an action of kind source-gone needs one of the keys 'gateway' and 'site'");
        }

        if (action is { Jitter: { } jitter, Delay: { } delay } && jitter.Value > delay.Value)
        {
            diagnostics.Error(DiagnosticCodes.DurationOrder, jitter.At, $"jitter {Scalars.Print(jitter.Value)} is more than the delay of {Scalars.Print(delay.Value)}",
                "a packet cannot arrive before it left");
        }

        if (action.Bandwidth is { Value: < 8_000 } narrow)
        {
            diagnostics.Error(DiagnosticCodes.BadCapacity, narrow.At, $"bandwidth: {narrow.Value} bit/s is too narrow for a link: at least 8kbit", "link-blackhole lets nothing through");
        }

        if (kind.Value == "loss" && action.LossPercent is { Value: 0 } nothing)
        {
            diagnostics.Error(DrillCodes.BadPercent, nothing.At, "lossPercent: '0' loses nothing", "an action that changes nothing shows nothing");
        }
    }

    private static Dictionary<string, Mark> Given(AskedAction a)
    {
        var given = a.Target.ToDictionary(t => t.Key, t => t.Value.At, StringComparer.Ordinal);
        Add(given, "delay", a.Delay);
        Add(given, "jitter", a.Jitter);
        Add(given, "lossPercent", a.LossPercent);
        Add(given, "bandwidth", a.Bandwidth);
        Add(given, "down", a.Down);
        Add(given, "up", a.Up);
        return given;
    }

    private static void KeysOf(Located<AskedProbe> located, DiagnosticBag diagnostics)
    {
        var probe = located.Value;
        if (probe.Kind is not { } kind)
        {
            return;
        }

        var given = new Dictionary<string, Mark>(StringComparer.Ordinal);
        Add(given, "perSecond", probe.PerSecond);
        Add(given, "connections", probe.Connections);
        Add(given, "bytes", probe.Bytes);
        Add(given, "path", probe.Path);
        var may = DrillShapes.ProbeKinds[kind.Value];
        foreach (var (key, at) in given.Where(g => !may.Contains(g.Key)))
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, at, $"{key} does not apply to a probe of kind {kind.Value}",
                $"it takes {string.Join(", ", may)}");
        }
    }

    /// <summary>A budget that nothing measures would hold always.</summary>
    private static void Measured(AskedDrill drill, Located<int>? expected, string name, string[] kinds, DiagnosticBag diagnostics)
    {
        if (expected is { } given && !drill.Probes.Any(p => p.Value.Kind is { } kind && kinds.Contains(kind.Value)))
        {
            diagnostics.Error(DrillCodes.NotMeasured, given.At, $"{name}: no probe of the drill measures it",
                $"add a probe of kind {string.Join(" or ", kinds)}, or leave it out");
        }
    }

    private static void Unique(Dictionary<string, Mark> names, string what, Located<string>? name, DiagnosticBag diagnostics)
    {
        if (name is { } given && !names.TryAdd(given.Value, given.At))
        {
            diagnostics.Error(DiagnosticCodes.DuplicateName, given.At,
                $"{what} {Words.Quote(given.Value)} is there twice; the first is at {names[given.Value]}");
        }
    }

    private static void Add<T>(Dictionary<string, Mark> given, string key, Located<T>? value)
    {
        if (value is { } there)
        {
            given.Add(key, there.At);
        }
    }
}

/// <summary>What a drill names is there in a topology.</summary>
internal static class ReferenceChecks
{
    public static void Check(AskedDrill asked, DrillDefinition drill, FabricTopology topology, DiagnosticBag diagnostics)
    {
        for (var i = 0; i < drill.Actions.Count; i++)
        {
            var (action, at) = (asked.Actions[i].Value, asked.Actions[i].At);

            // Without its keys, which are reported, it is about nothing in any case.
            if (DrillShapes.Kinds[drill.Actions[i].Kind].Needs.All(k => k is not ("gateway" or "site" or "link" or "service") || action.Target.ContainsKey(k))
                && (action.Target.ContainsKey("gateway") || action.Target.ContainsKey("site"))
                && Targets.Of(drill.Actions[i], topology) is { Problem: { } problem } nothing)
            {
                diagnostics.Error(DrillCodes.BadTarget, action.Target.TryGetValue(nothing.Key, out var key) ? key.At : at,
                    $"action {Words.Quote(drill.Actions[i].Id)}: {problem}", nothing.Hint);
            }
        }

        var services = topology.Services.Select(s => s.FullName).ToArray();
        Known(asked.Steady.LinksUp, "link", [.. topology.Links.Select(l => l.Name).Distinct()], diagnostics);
        Known(asked.Steady.Services, "service", services, diagnostics);
        Known(asked.Guards.ProtectedServices, "service", services, diagnostics);
        Known(asked.Guards.Services.Select(g => g.Value.Service).OfType<Located<string>>(), "service", services, diagnostics);
        Known(asked.Probes.Select(p => p.Value.Service).OfType<Located<string>>(), "service", services, diagnostics);
        foreach (var probe in asked.Probes.Select(p => p.Value))
        {
            Port(probe, topology, diagnostics);
        }
    }

    private static void Port(AskedProbe probe, FabricTopology topology, DiagnosticBag diagnostics)
    {
        if (probe.Service is not { } name || topology.Services.FirstOrDefault(s => s.FullName == name.Value) is not { } service)
        {
            return;
        }

        var ports = string.Join(", ", service.Ports.Select(p => p.Port));
        if (probe.Port is { } port && service.Ports.All(p => p.Port != port.Value))
        {
            diagnostics.Error(DiagnosticCodes.UnknownServicePort, port.At, $"service {Words.Quote(name.Value)} has no port {port.Value}", $"there are {ports}");
        }
        else if (probe.Port is null && service.Ports.Length > 1 && probe.Kind?.Value != "dns")
        {
            diagnostics.Error(DiagnosticCodes.MissingKey, name.At, $"service {Words.Quote(name.Value)} has several ports: say which by 'port'", $"there are {ports}");
        }
    }

    private static void Known(IEnumerable<Located<string>> names, string what, string[] known, DiagnosticBag diagnostics)
    {
        foreach (var name in names.Where(n => !known.Contains(n.Value)))
        {
            diagnostics.Error(DiagnosticCodes.UnknownReference, name.At, $"there is no {what} {Words.Quote(name.Value)}", Words.DidYouMean(name.Value, known));
        }
    }
}
