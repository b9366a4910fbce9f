namespace Fabric.Overlay;

/// <summary>Which driver to use.</summary>
public static class WireGuardDrivers
{
    /// <summary>The drivers of this platform, best first.</summary>
    public static IReadOnlyList<IWireGuardDriver> All(OverlayOptions options, TimeProvider time) =>
        [new Kernel.KernelDriver(options), new Userspace.UserspaceDriver(options, time)];

    /// <summary>
    /// <c>auto</c>: the first that works here; <c>kernel</c>, <c>userspace</c>: that one. <paramref name="why"/> says what was
    /// chosen and why. Throws <see cref="OverlayException"/>, with the reason of each driver, when none works.
    /// </summary>
    public static IWireGuardDriver Choose(string preference, OverlayOptions options, TimeProvider time, out string why)
    {
        var candidates = All(options, time).Where(d => preference == "auto" || d.Name == preference).ToArray();
        if (candidates.Length == 0)
        {
            throw new OverlayException(OverlayStage.Driver, $"WireGuard driver '{preference}' must be auto, kernel or userspace");
        }

        var reasons = new List<string>();
        foreach (var driver in candidates)
        {
            var works = driver.IsAvailable(out var reason);
            reasons.Add($"{driver.Name}: {reason}");
            if (works)
            {
                why = string.Join("; ", reasons);
                return driver;
            }
        }

        throw new OverlayException(OverlayStage.Driver,
            $"no WireGuard driver works here ({string.Join("; ", reasons)}); vpn links need one, interconnect links do not");
    }
}
