using Fabric.Drills.Definition;
using Fabric.Drills.Guards;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Drills.Running;

/// <summary>
/// Runs one drill: guards, watch of the steady state, actions at their times, reversal, recovery, verdict. Whatever happens in between, it takes back what
/// it did; where it cannot (because it is killed, or a gateway is out of reach), the leases at the gateways end by themselves.
/// </summary>
public sealed class DrillRunner(FabricClient client, ProbeMeterFactory probes, IDrillWatcher watcher, TimeProvider time)
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan RenewEvery = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(5);

    /// <summary>How long an aborted run tries to reach gateways; a caller that is asked to end waits a little longer than that.</summary>
    public static readonly TimeSpan AbortLimit = TimeSpan.FromSeconds(10);

    /// <param name="id">Of the run.</param>
    /// <param name="abort">Aborts: everything is reverted at once, and the record says so.</param>
    public async Task<DrillRecord> RunAsync(DrillDefinition drill, FabricSurvey survey, string id, CancellationToken abort)
    {
        var run = new Run(drill, survey, id, time.GetUtcNow()) { Guards = DrillGuard.Evaluate(drill, survey.View) };
        var targets = drill.Actions.SelectMany(a => Targets.Of(a, survey.View.Topology).Found).ToArray();
        var plans = drill.Probes.Select(p => (Plan: p, Target: ProbeTarget.Of(p, survey.View, out var why), Why: why)).ToArray();
        string[] against = [.. run.Guards.Where(g => !g.Allowed).Select(g => $"{g.Guard}: {g.Reason}"), .. plans.Where(p => p.Target is null).Select(p => p.Why)];
        if (against.Length > 0)
        {
            return Records.Of(run, [], [], [], time.GetUtcNow(), DrillOutcome.Refused, string.Join("; ", against));
        }

        var keeper = new FaultKeeper(client, id, survey.View.Status.Gateway, survey.Clocks, time);
        var events = new EventLog(client, time);
        using var following = new CancellationTokenSource();
        var followers = survey.Clocks.Values.Select(c => events.FollowAsync(c, following.Token)).ToArray();
        var load = new ProbeSet([.. plans.Select(p => (p.Plan, p.Target!))], probes);
        try
        {
            var stage = new Stage(run, keeper, events, load);
            var (outcome, why) = await GuardedAsync(stage, targets, abort);
            var ended = time.GetUtcNow();

            // What was said of the end is still on its way.
            await Task.Delay(Tick, time, CancellationToken.None);
            var record = Records.Of(run, keeper.Records(), load.Meter.Figures(run.Acting ?? run.Began, ended), load.Meter.Seconds(), ended, outcome, why, events);
            Show(stage, "done", null);
            return record;
        }
        finally
        {
            await following.CancelAsync();
            await Task.WhenAll(followers);
            await load.DisposeAsync();
        }
    }

    /// <summary>The run proper; what it leaves in force is taken back here, in every case.</summary>
    private async Task<(DrillOutcome, string)> GuardedAsync(Stage stage, Target[] targets, CancellationToken abort)
    {
        string why;
        try
        {
            if (await WatchAsync(stage, abort) is { } unsteady)
            {
                stage.Run.Judged.Add(unsteady);
                return (DrillOutcome.Failed, $"the steady state did not hold before anything was touched: {unsteady.Seen}");
            }

            await ActAsync(stage, targets, abort);
            why = "";
        }
        catch (OperationCanceledException) when (abort.IsCancellationRequested)
        {
            why = "stopped by a person";
        }
        catch (StoppedException e)
        {
            why = e.Message;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            why = $"it could not go on: {(e is GrpcException grpc ? grpc.Detail : e.Message)}";
        }

        var aborted = why.Length > 0;
        if (aborted)
        {
            watcher.Say($"aborting: {why}");
        }

        Show(stage, "reverting", null);
        var unsure = await stage.Keeper.RevertAsync(aborted ? AbortLimit : stage.Run.Drill.Steady.After);
        stage.Run.Reverted = stage.Keeper.Faults.Max(f => f.Reverted);
        if (unsure.Count > 0)
        {
            return (DrillOutcome.NotReverted, string.Join("; ", new[] { why }.Where(w => w.Length > 0)
                .Concat(unsure.Select(g => $"{g} does not say that nothing is in force: its leases end by themselves by {stage.Keeper.LeaseEnd(g):HH:mm:ss} UTC"))));
        }

        watcher.Say("everything is reverted");
        if (aborted)
        {
            return (DrillOutcome.Aborted, why);
        }

        await RecoverAsync(stage, abort);
        return (DrillOutcome.Passed, "");
    }

    /// <summary>Null when it held all the time.</summary>
    private async Task<DrillVerdict?> WatchAsync(Stage stage, CancellationToken abort)
    {
        var drill = stage.Run.Drill;
        watcher.Say($"watching the steady state for {Words.Span(drill.Steady.Before)}");
        var ends = time.GetUtcNow() + drill.Steady.Before;
        while (true)
        {
            await LookAsync(stage, abort);
            Show(stage, "steady", ends);
            if (stage.Steady.FirstOrDefault(c => !c.Holds) is { } broken)
            {
                return new DrillVerdict("steadyBefore", broken.Name, broken.Seen, false);
            }

            if (time.GetUtcNow() >= ends)
            {
                break;
            }

            await Task.Delay(Tick, time, abort);
        }

        var success = Records.SuccessPercent(stage.Probes.Meter.Figures(stage.Run.Began, time.GetUtcNow()));
        var text = success is { } percent ? $"{Words.Number(percent)} % of probes succeeded" : "no probe ended";
        var verdict = new DrillVerdict("steadyBefore", $"at least {Words.Number(drill.Steady.SuccessPercentMin)} %", text,
            success is null ? drill.Probes.Count == 0 || drill.Steady.Before < TimeSpan.FromSeconds(1) : success >= drill.Steady.SuccessPercentMin);
        stage.Run.Judged.AddRange(verdict.Held ? [verdict] : []);
        return verdict.Held ? null : verdict;
    }

    private async Task ActAsync(Stage stage, Target[] targets, CancellationToken abort)
    {
        var began = time.GetUtcNow();
        stage.Run.Acting = began;
        var pending = targets.OrderBy(t => t.Action.Start).ToList();
        var ends = began + stage.Run.Drill.Actions.Max(a => a.Start + a.Duration);
        var renewed = began;
        var renewal = Task.CompletedTask;
        while (pending.Count > 0 || time.GetUtcNow() < ends)
        {
            var now = time.GetUtcNow();
            var due = pending.Where(t => began + t.Action.Start <= now).ToArray();
            pending.RemoveAll(due.Contains);
            await Task.WhenAll(due.Select(async target =>
            {
                await stage.Keeper.ApplyAsync(target, !target.Deaf && StaysInReach(stage, target, targets), abort);
                watcher.Say($"in force: {target} for {Words.Span(target.Action.Duration)}");
            }));
            if (now - renewed >= RenewEvery && renewal.IsCompleted)
            {
                (renewed, renewal) = (now, stage.Keeper.RenewAsync(abort));
            }

            await LookAsync(stage, abort);
            Stop(stage);
            Show(stage, "acting", ends);
            await Task.Delay(Tick, time, abort);
        }

        await renewal;
    }

    /// <summary>The renewals have to get there while everything that overlaps is in force.</summary>
    private static bool StaysInReach(Stage stage, Target target, Target[] all)
    {
        var (view, self) = (stage.Run.Survey.View, stage.Run.Survey.View.Status.Gateway);
        var damage = Damage.Of(all.Where(t => t.Action.Start < target.Action.Start + target.Action.Duration && target.Action.Start < t.Action.Start + t.Action.Duration));
        return target.Gateway == self || view.SiteOf(target.Gateway) == view.Status.Site
            || ServicePaths.Between(view, damage, self, target.Gateway).Any() || ServicePaths.Relays(view, damage, self, target.Gateway).Any();
    }

    private static void Stop(Stage stage)
    {
        var stop = stage.Run.Drill.Stop;
        if (stage.Keeper.Other.Length > 0)
        {
            throw new StoppedException($"another drill has begun: {stage.Keeper.Other}");
        }

        if (stage.Keeper.Undone.Length > 0)
        {
            throw new StoppedException($"stopped from elsewhere: its faults at {stage.Keeper.Undone} were reverted");
        }

        if (stage.Probes.Broken is { } broken)
        {
            throw new StoppedException($"the probes broke off: {broken}");
        }

        if (stage.Probes.Meter.RecentFailedPercent(ProbeSet.Recent) is var percent && percent > stop.FailedPercentMax)
        {
            throw new StoppedException($"stop condition: {Words.Number(percent)} % of probes failed in the last 10 s, at most {Words.Number(stop.FailedPercentMax)} %");
        }

        if (stage.Probes.Meter.LivePause() is var pause && pause > stop.PauseMax)
        {
            throw new StoppedException($"stop condition: a live connection has got nothing for {Words.Span(pause)}, at most {Words.Span(stop.PauseMax)}");
        }

        if (stop.ProtectedServiceDown && stage.Status is { } status && stage.Run.Drill.Guards.ProtectedServices
            .FirstOrDefault(p => status.Services.FirstOrDefault(s => s.Name == p) is { ChosenSite.Length: 0 }) is { } down)
        {
            throw new StoppedException($"stop condition: protected service {down} has no healthy site");
        }
    }

    private async Task RecoverAsync(Stage stage, CancellationToken abort)
    {
        var drill = stage.Run.Drill;
        var from = time.GetUtcNow();
        var ends = (stage.Run.Reverted ?? from) + drill.Steady.After;
        watcher.Say($"waiting for the steady state, at most {Words.Span(drill.Steady.After)}");
        DateTimeOffset? holds = null;
        while (true)
        {
            try
            {
                await LookAsync(stage, abort);
            }
            catch (Exception e) when (e is StoppedException or OperationCanceledException)
            {
                stage.Run.Judged.Add(new DrillVerdict("steadyAfter", "the steady state holds again", e is StoppedException ? e.Message : "it was not waited for", false));
                return;
            }

            Show(stage, "recovering", ends);
            var now = time.GetUtcNow();
            holds = stage.Steady.All(c => c.Holds) && Succeed(stage, now) ? holds ?? now : null;

            // A second of it: what holds for one look may be on its way down.
            if (holds is { } since && now - since >= TimeSpan.FromSeconds(1))
            {
                stage.Run.RecoveryMs = Math.Max(0, (since - (stage.Run.Reverted ?? from)).TotalMilliseconds);
                stage.Run.Judged.Add(new DrillVerdict("steadyAfter", $"within {Words.Span(drill.Steady.After)}", Words.Milliseconds(stage.Run.RecoveryMs.Value), true));
                watcher.Say("the steady state holds again");
                return;
            }

            if (now >= ends)
            {
                var seen = stage.Steady.FirstOrDefault(c => !c.Holds) is { } broken ? $"{broken.Name}: {broken.Seen}" : "too many probes still fail";
                stage.Run.Judged.Add(new DrillVerdict("steadyAfter", $"within {Words.Span(drill.Steady.After)}", seen, false));
                return;
            }

            await Task.Delay(Tick, time, CancellationToken.None);
        }
    }

    /// <summary>Of what ended in the last whole second, which is as fine as probes are counted; where nothing did, nothing speaks against it.</summary>
    private static bool Succeed(Stage stage, DateTimeOffset now)
    {
        var second = new DateTimeOffset(now.Ticks - now.Ticks % TimeSpan.TicksPerSecond, TimeSpan.Zero);
        return Records.SuccessPercent(stage.Probes.Meter.Figures(second.AddSeconds(-1), second)) is not { } percent
            || percent >= stage.Run.Drill.Steady.SuccessPercentMin;
    }

    /// <summary>The gateway may be busy for a moment, but not for long: a drill that sees nothing does not go on.</summary>
    private async Task LookAsync(Stage stage, CancellationToken abort)
    {
        try
        {
            stage.Status = await client.StatusAsync(abort);
            stage.Looked = time.GetUtcNow();
            stage.Steady = SteadyCheck.Of(stage.Run.Drill.Steady, stage.Status, stage.Events);
        }
        catch (GrpcException e)
        {
            if (stage.Looked == default || time.GetUtcNow() - stage.Looked > Silence)
            {
                throw new StoppedException($"{stage.Run.Survey.View.Status.Gateway}, which the drill is run through, does not answer: {e.Detail}");
            }
        }
    }

    private void Show(Stage stage, string phase, DateTimeOffset? ends)
    {
        if (stage.Phase != phase)
        {
            (stage.Phase, stage.PhaseBegan) = (phase, time.GetUtcNow());
        }

        watcher.Show(new DrillBoard(stage.Run.Id, phase, stage.PhaseBegan, ends, stage.Steady, stage.Keeper.Records(), stage.Probes.Now(time.GetUtcNow()),
            [.. stage.Events.Events().TakeLast(8)]));
    }

    private sealed class Stage(Run run, FaultKeeper keeper, EventLog events, ProbeSet probes)
    {
        public Run Run => run;
        public FaultKeeper Keeper => keeper;
        public EventLog Events => events;
        public ProbeSet Probes => probes;
        public Status? Status { get; set; }
        public DateTimeOffset Looked { get; set; }
        public IReadOnlyList<SteadyCondition> Steady { get; set; } = [];
        public string Phase { get; set; } = "";
        public DateTimeOffset PhaseBegan { get; set; }
    }

    private sealed class StoppedException(string why) : Exception(why);
}
